-- People, their data keys, sessions and second factors. What proves a login is compared below; find_login alone hands out a hash.
SET LOCAL ROLE migrator;

CREATE TABLE users (
    user_id uuid PRIMARY KEY,
    role text NOT NULL DEFAULT 'cardholder'
        CHECK (role IN ('cardholder', 'merchant', 'support', 'admin', 'compliance_officer')),
    organization_id uuid,
    -- AES-256-GCM under the user's data key; destroying that key is the deletion.
    email_sealed bytea NOT NULL,
    -- Until the address is confirmed: of the first registration. The one that is confirmed puts its own here.
    first_name_sealed bytea NOT NULL,
    last_name_sealed bytea NOT NULL,
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    email_verified_at timestamptz,
    failed_logins smallint NOT NULL DEFAULT 0 CHECK (failed_logins >= 0),
    locked_until timestamptz,
    totp_sealed bytea,
    totp_confirmed_at timestamptz,
    -- The newest time step whose code was taken: no code is taken twice (RFC 6238, section 5.2).
    totp_last_step bigint NOT NULL DEFAULT 0,
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at timestamptz NOT NULL,
    CHECK (totp_confirmed_at IS NULL OR totp_sealed IS NOT NULL)
);
CALL protect_user_rows('users');
-- A registration makes cardholders; only an administrator's transaction makes anybody else.
CREATE POLICY staff_by_admin ON users AS RESTRICTIVE FOR INSERT TO app
    WITH CHECK (role = 'cardholder' OR (SELECT actor_role()) = 'admin');

-- A keyed index of the address names one user; it is its own table's shard key.
CREATE TABLE user_emails (
    email_index bytea PRIMARY KEY CHECK (octet_length(email_index) = 32),
    user_id uuid NOT NULL
);
CALL protect_user_rows('user_emails');

-- Data keys wrapped by KMS, apart from what they open: backups of this table are kept for days, not years.
CREATE TABLE user_data_keys (
    user_id uuid PRIMARY KEY,
    wrapped_key bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CALL protect_user_rows('user_data_keys');

CREATE TABLE sessions (
    user_id uuid NOT NULL REFERENCES users (user_id),
    session_id uuid NOT NULL,
    refresh_digest bytea NOT NULL CHECK (octet_length(refresh_digest) = 32),
    auth_time timestamptz NOT NULL,
    mfa_at timestamptz,
    refreshed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_because text CHECK (revoked_because IN ('logout', 'refresh_token_reused')),
    PRIMARY KEY (user_id, session_id),
    CHECK ((revoked_at IS NULL) = (revoked_because IS NULL))
);
CALL protect_user_rows('sessions');

-- A login whose password was right and whose second factor is still owed.
CREATE TABLE mfa_challenges (
    user_id uuid NOT NULL REFERENCES users (user_id),
    challenge_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    tries smallint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, challenge_id)
);
CALL protect_user_rows('mfa_challenges');

-- Everybody who registered an address nobody has confirmed yet, each with the code that was mailed (keyed, because six digits
-- are soon tried out): a code confirms the password it was mailed for, never that of somebody who came later.
CREATE TABLE pending_registrations (
    user_id uuid NOT NULL REFERENCES users (user_id),
    registration_id uuid NOT NULL,
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    first_name_sealed bytea NOT NULL,
    last_name_sealed bytea NOT NULL,
    password_hash text NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    tries smallint NOT NULL DEFAULT 0 CHECK (tries >= 0),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, registration_id)
);
CALL protect_user_rows('pending_registrations');

CREATE TABLE recovery_codes (
    user_id uuid NOT NULL REFERENCES users (user_id),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, digest)
);
CALL protect_user_rows('recovery_codes');

-- The account an address belongs to, before anybody is logged in.
CREATE FUNCTION find_login(p_email_index bytea)
    RETURNS TABLE (user_id uuid, role text, password_hash text, locked_until timestamptz,
                   email_verified_at timestamptz, totp_confirmed_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT u.user_id, u.role, u.password_hash, u.locked_until, u.email_verified_at, u.totp_confirmed_at
        FROM user_emails AS e JOIN users AS u ON u.user_id = e.user_id
        WHERE e.email_index = p_email_index;
    END;

-- Takes one try at the codes that were mailed; the user when one was right, whose registration then is the account.
CREATE FUNCTION confirm_email(p_email_index bytea, p_digest bytea, p_max_tries integer, p_now timestamptz) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $confirm$
DECLARE
    held uuid;
    fitting uuid[];
BEGIN
    -- The user is locked first, as whoever adds a registration does.
    SELECT u.user_id INTO held FROM user_emails AS e JOIN users AS u ON u.user_id = e.user_id
        WHERE e.email_index = p_email_index AND u.email_verified_at IS NULL FOR NO KEY UPDATE OF u;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(registration_id) INTO fitting FROM pending_registrations
        WHERE user_id = held AND digest = p_digest AND expires_at > p_now AND tries < p_max_tries;
    -- Two that drew the same code by chance cannot be told apart, so it confirms neither.
    IF cardinality(fitting) IS DISTINCT FROM 1 THEN
        UPDATE pending_registrations SET tries = tries + 1
            WHERE user_id = held AND expires_at > p_now AND tries < p_max_tries;
        RETURN NULL;
    END IF;
    UPDATE users AS u SET first_name_sealed = p.first_name_sealed, last_name_sealed = p.last_name_sealed,
                          password_hash = p.password_hash, email_verified_at = p_now, version = u.version + 1
        FROM pending_registrations AS p
        WHERE u.user_id = held AND p.user_id = held AND p.registration_id = fitting[1];
    DELETE FROM pending_registrations WHERE user_id = held;
    RETURN held;
END
$confirm$;

-- Takes one try at an open challenge and tells whose it is; no row when it is unknown, spent or expired.
CREATE FUNCTION try_mfa_challenge(p_user_id uuid, p_challenge_id uuid, p_digest bytea, p_max_tries integer, p_now timestamptz)
    RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $try$
BEGIN
    UPDATE mfa_challenges SET tries = tries + 1
        WHERE user_id = p_user_id AND challenge_id = p_challenge_id AND digest = p_digest
          AND tries < p_max_tries AND expires_at > p_now;
    RETURN FOUND;
END
$try$;

-- Exchanges the current refresh token. A token that was current once and is not any more has been copied:
-- the session ends, for the thief and for the owner. The caller has checked that the token was made by us.
CREATE FUNCTION rotate_session(p_user_id uuid, p_session_id uuid, p_digest bytea, p_new_digest bytea, p_now timestamptz)
    RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $rotate$
DECLARE
    held sessions;
BEGIN
    SELECT * INTO held FROM sessions WHERE user_id = p_user_id AND session_id = p_session_id FOR UPDATE;
    IF NOT FOUND OR held.revoked_at IS NOT NULL OR held.expires_at <= p_now THEN
        RETURN 'ended';
    END IF;
    IF held.refresh_digest <> p_digest THEN
        UPDATE sessions SET revoked_at = p_now, revoked_because = 'refresh_token_reused'
            WHERE user_id = p_user_id AND session_id = p_session_id;
        RETURN 'reused';
    END IF;
    UPDATE sessions SET refresh_digest = p_new_digest, refreshed_at = p_now
        WHERE user_id = p_user_id AND session_id = p_session_id;
    RETURN 'rotated';
END
$rotate$;

-- Whether a user works here now: what a subscription to everybody's events rests on.
CREATE FUNCTION user_is_staff(p_user_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN EXISTS (SELECT FROM users WHERE user_id = p_user_id AND role IN ('support', 'admin', 'compliance_officer'));
GRANT EXECUTE ON FUNCTION user_is_staff(uuid) TO worker;

GRANT EXECUTE ON FUNCTION find_login(bytea), confirm_email(bytea, bytea, integer, timestamptz),
    try_mfa_challenge(uuid, uuid, bytea, integer, timestamptz),
    rotate_session(uuid, uuid, bytea, bytea, timestamptz) TO app;

-- The app role writes password hashes and digests and may read neither. One hash at a time comes out of find_login, for the
-- comparison of a login.
GRANT SELECT (user_id, role, organization_id, email_sealed, first_name_sealed, last_name_sealed, email_verified_at,
              failed_logins, locked_until, totp_sealed, totp_confirmed_at, totp_last_step, version, created_at) ON users TO app;
GRANT INSERT ON users TO app;
GRANT UPDATE (password_hash, failed_logins, locked_until, totp_sealed, totp_confirmed_at, totp_last_step, version) ON users TO app;
GRANT SELECT (user_id, role, organization_id, email_verified_at, version, created_at) ON users TO worker;
GRANT SELECT, INSERT ON user_emails TO app;
GRANT SELECT, INSERT ON user_data_keys TO app;
GRANT SELECT (user_id, session_id, auth_time, mfa_at, refreshed_at, expires_at, revoked_at, revoked_because) ON sessions TO app;
GRANT INSERT ON sessions TO app;
GRANT UPDATE (mfa_at, revoked_at, revoked_because) ON sessions TO app;
GRANT SELECT (user_id, challenge_id, tries, expires_at), INSERT, DELETE ON mfa_challenges TO app;
GRANT UPDATE (tries) ON mfa_challenges TO app;
GRANT SELECT (user_id, registration_id, tries, expires_at), INSERT, DELETE ON pending_registrations TO app;
GRANT SELECT, INSERT, DELETE ON recovery_codes TO app;
GRANT UPDATE (used_at) ON recovery_codes TO app;

-- The auditor reads who there is and how they are let in, nothing that lets anybody in.
REVOKE SELECT ON users, user_emails, user_data_keys, sessions, mfa_challenges, pending_registrations, recovery_codes FROM auditor;
GRANT SELECT (user_id, role, organization_id, email_verified_at, failed_logins, locked_until, totp_confirmed_at, version,
              created_at) ON users TO auditor;
GRANT SELECT (user_id, session_id, auth_time, mfa_at, refreshed_at, expires_at, revoked_at, revoked_because) ON sessions TO auditor;
