-- How far each person's identity check is, and the provider's events that were taken. Nothing that was submitted is kept.
SET LOCAL ROLE migrator;

CREATE TABLE kyc_cases (
    user_id uuid PRIMARY KEY REFERENCES users (user_id),
    status text NOT NULL CHECK (status IN ('NOT_STARTED', 'PENDING', 'VERIFIED', 'REJECTED', 'NEEDS_REVIEW', 'EXPIRED')),
    -- The submission that counts; an event about an earlier one changes nothing.
    submission_id uuid,
    -- The provider's name of the check; null until the provider has confirmed that it has the submission.
    provider_reference text,
    submitted_at timestamptz,
    decided_at timestamptz,
    version integer NOT NULL DEFAULT 1 CHECK (version > 0)
);
CALL protect_user_rows('kyc_cases');
-- A person's own request never makes that person verified.
CREATE POLICY verified_by_others ON kyc_cases AS RESTRICTIVE FOR INSERT TO app
    WITH CHECK (status <> 'VERIFIED' OR (SELECT actor_is_staff()));
CREATE POLICY verified_by_others_later ON kyc_cases AS RESTRICTIVE FOR UPDATE TO app
    USING (true) WITH CHECK (status <> 'VERIFIED' OR (SELECT actor_is_staff()));

CREATE TABLE kyc_events (
    user_id uuid NOT NULL REFERENCES users (user_id),
    event_id text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    status text NOT NULL,
    applied boolean NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, event_id)
);
CALL protect_user_rows('kyc_events');

GRANT SELECT, INSERT, UPDATE ON kyc_cases TO app, worker;
GRANT SELECT, INSERT ON kyc_events TO worker;
