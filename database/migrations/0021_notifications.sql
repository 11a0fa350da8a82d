-- What people are told of, how they wish to be told, and every message with what became of it.
SET LOCAL ROLE migrator;

-- One row a person, made with the defaults when it is first needed. Whoever plans messages of a person, or sends a code, writes
-- touched_at first: so only one does at a time. No reference to users: an event may tell of somebody who is gone.
CREATE TABLE notification_preferences (
    user_id uuid PRIMARY KEY,
    locale text NOT NULL DEFAULT 'en' CHECK (length(locale) BETWEEN 2 AND 10),
    time_zone text NOT NULL DEFAULT 'UTC' CHECK (length(time_zone) BETWEEN 1 AND 64),
    -- By the clock of that time zone; over midnight where quiet_from is later.
    quiet_from time,
    quiet_until time,
    digest text NOT NULL DEFAULT 'OFF' CHECK (digest IN ('OFF', 'DAILY')),
    digest_hour smallint NOT NULL DEFAULT 8 CHECK (digest_hour BETWEEN 0 AND 23),
    -- {category: {channel: boolean}}; what is not told is as the defaults are.
    choices jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(choices) = 'object'),
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    last_operation_id uuid,
    touched_at timestamptz NOT NULL,
    -- Codes sent since codes_since: a number costs money to text.
    codes_since timestamptz,
    codes_sent smallint NOT NULL DEFAULT 0 CHECK (codes_sent >= 0),
    CHECK ((quiet_from IS NULL) = (quiet_until IS NULL)),
    CHECK (quiet_from <> quiet_until)
);
CALL protect_user_rows('notification_preferences');

CREATE TABLE notification_devices (
    user_id uuid NOT NULL REFERENCES users (user_id),
    device_id uuid NOT NULL,
    channel text NOT NULL CHECK (channel IN ('push', 'sms')),
    platform text CHECK (platform IN ('android', 'ios', 'web')),
    -- AES-256-GCM under the user's data key, beside it a keyed digest to find it by.
    address_sealed bytea NOT NULL,
    address_digest bytea NOT NULL CHECK (octet_length(address_digest) = 32),
    last_four text CHECK (last_four ~ '^\d{4}$'),
    status text NOT NULL CHECK (status IN ('ACTIVE', 'UNCONFIRMED', 'DEAD')),
    -- The code that was texted (keyed, because six digits are soon tried out).
    code_digest bytea CHECK (octet_length(code_digest) = 32),
    code_tries smallint NOT NULL DEFAULT 0 CHECK (code_tries >= 0),
    code_expires_at timestamptz,
    code_sent_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, device_id),
    CHECK ((channel = 'push') = (platform IS NOT NULL)),
    CHECK ((channel = 'sms') = (last_four IS NOT NULL)),
    CHECK (channel = 'sms' OR status <> 'UNCONFIRMED'),
    CHECK ((code_digest IS NULL) = (code_expires_at IS NULL)),
    CHECK (status = 'UNCONFIRMED' OR code_digest IS NULL)
);
CREATE UNIQUE INDEX notification_devices_once ON notification_devices (user_id, address_digest);
-- A token, or a number somebody has confirmed, is one person's.
CREATE UNIQUE INDEX notification_devices_of_one ON notification_devices (address_digest) WHERE status = 'ACTIVE';
CALL protect_user_rows('notification_devices');

-- The inbox of the app, and what keeps an event from being told twice.
CREATE TABLE notifications (
    user_id uuid NOT NULL,
    notification_id uuid NOT NULL,
    event_id uuid NOT NULL,
    template text NOT NULL CHECK (length(template) BETWEEN 1 AND 60),
    category text NOT NULL CHECK (category IN ('security', 'transactions', 'cards', 'account', 'operations')),
    -- What the template is filled with when it is read; never a secret, a full name or a card number.
    params jsonb NOT NULL,
    collapse_key text CHECK (length(collapse_key) <= 300),
    -- The same once more, minutes after this one: it is counted there and sends nothing.
    collapsed_into uuid,
    repeats integer NOT NULL DEFAULT 0 CHECK (repeats >= 0),
    event_created_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    read_at timestamptz,
    PRIMARY KEY (user_id, notification_id),
    UNIQUE (user_id, event_id, template)
);
CREATE INDEX notifications_inbox ON notifications (user_id, notification_id) WHERE collapsed_into IS NULL;
CREATE INDEX notifications_alike ON notifications (user_id, collapse_key, created_at)
    WHERE collapse_key IS NOT NULL AND collapsed_into IS NULL;
CALL protect_user_rows('notifications');

-- One row for each way a notification takes. A digest is a message of no notification; what is in it points at it.
CREATE TABLE notification_messages (
    user_id uuid NOT NULL,
    message_id uuid NOT NULL,
    notification_id uuid,
    category text NOT NULL CHECK (category IN ('security', 'transactions', 'cards', 'account', 'operations')),
    channel text NOT NULL CHECK (channel IN ('email', 'push', 'sms')),
    device_id uuid,
    status text NOT NULL CHECK (status IN ('PENDING', 'SENT', 'FAILED', 'SUPPRESSED', 'DIGESTED')),
    digest_id uuid,
    due_at timestamptz,
    attempts smallint NOT NULL DEFAULT 0 CHECK (attempts BETWEEN 0 AND 5),
    -- One worker at a time: who holds the token may send, and records only while the token is still here.
    lease_token uuid,
    lease_until timestamptz,
    provider text,
    provider_message_id text CHECK (length(provider_message_id) <= 200),
    outcome text,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    PRIMARY KEY (user_id, message_id),
    FOREIGN KEY (user_id, notification_id) REFERENCES notifications (user_id, notification_id),
    CHECK (notification_id IS NOT NULL OR channel = 'email'),
    CHECK ((channel = 'email') = (device_id IS NULL)),
    CHECK ((status = 'PENDING') = (due_at IS NOT NULL)),
    CHECK ((status = 'PENDING') = (finished_at IS NULL)),
    CHECK ((status = 'DIGESTED') = (digest_id IS NOT NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CHECK (status = 'PENDING' OR lease_token IS NULL)
);
CREATE INDEX notification_messages_due ON notification_messages (due_at) WHERE status = 'PENDING';
CREATE INDEX notification_messages_counted ON notification_messages (user_id, channel, created_at)
    WHERE status IN ('PENDING', 'SENT', 'FAILED');
CREATE INDEX notification_messages_digests ON notification_messages (user_id, due_at)
    WHERE status = 'PENDING' AND notification_id IS NULL;
CREATE INDEX notification_messages_digested ON notification_messages (user_id, digest_id) WHERE digest_id IS NOT NULL;
CALL protect_user_rows('notification_messages');

-- E-mail addresses that take nothing more, by keyed digest: whoever has one, now or later, is told in other ways. (A number or
-- token that takes nothing more is a device that is DEAD.)
CREATE TABLE notification_suppressions (
    address_digest bytea PRIMARY KEY CHECK (octet_length(address_digest) = 32),
    because text NOT NULL CHECK (because IN ('bounce', 'complaint', 'unsubscribed')),
    created_at timestamptz NOT NULL
);

-- A push token, or a number that was just confirmed, leaves whoever had it before: it is the caller's now, and nobody else's.
CREATE FUNCTION take_notification_address(p_channel text, p_digests bytea[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $take$
DECLARE
    moved integer;
BEGIN
    DELETE FROM notification_devices
        WHERE channel = p_channel AND address_digest = ANY (p_digests) AND user_id <> actor_id() AND status <> 'UNCONFIRMED';
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved;
END
$take$;
GRANT EXECUTE ON FUNCTION take_notification_address(text, bytea[]) TO app;

-- A person's confirmed address with what opens it, for the workers that write to it.
CREATE FUNCTION find_contact(p_user_id uuid) RETURNS TABLE (email_sealed bytea, email_verified_at timestamptz, wrapped_key bytea)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        SELECT u.email_sealed, u.email_verified_at, k.wrapped_key
        FROM users AS u JOIN user_data_keys AS k USING (user_id) WHERE u.user_id = p_user_id;
    END;
GRANT EXECUTE ON FUNCTION find_contact(uuid) TO worker;

-- Doors hand out the inbox and take wishes and devices; what is planned and sent is the worker's.
GRANT SELECT, INSERT ON notification_preferences TO app, worker;
GRANT UPDATE (locale, time_zone, quiet_from, quiet_until, digest, digest_hour, choices, version, last_operation_id, touched_at,
              codes_since, codes_sent) ON notification_preferences TO app;
GRANT UPDATE (touched_at) ON notification_preferences TO worker;
GRANT SELECT, INSERT, DELETE ON notification_devices TO app;
GRANT UPDATE (platform, status, code_digest, code_tries, code_expires_at, code_sent_at, updated_at) ON notification_devices TO app;
GRANT SELECT (user_id, device_id, channel, address_sealed, address_digest, status, created_at) ON notification_devices TO worker;
GRANT UPDATE (status, updated_at) ON notification_devices TO worker;
GRANT SELECT ON notifications TO app;
GRANT UPDATE (read_at) ON notifications TO app;
GRANT SELECT, INSERT ON notifications TO worker;
GRANT UPDATE (repeats) ON notifications TO worker;
GRANT SELECT, INSERT ON notification_messages TO worker;
GRANT UPDATE (status, digest_id, due_at, attempts, lease_token, lease_until, provider, provider_message_id, outcome, finished_at)
    ON notification_messages TO worker;
GRANT SELECT, INSERT ON notification_suppressions TO worker;
GRANT UPDATE (because) ON notification_suppressions TO worker;

REVOKE SELECT ON notification_devices, notification_suppressions FROM auditor;
GRANT SELECT (user_id, device_id, channel, platform, status, created_at, updated_at) ON notification_devices TO auditor;
GRANT SELECT (because, created_at) ON notification_suppressions TO auditor;
