-- Permissions to see one card's number once, in a view that the processor serves.
SET LOCAL ROLE migrator;

CREATE TABLE card_reveals (
    user_id uuid NOT NULL REFERENCES users (user_id),
    reveal_id uuid NOT NULL,
    card_id uuid NOT NULL,
    -- Of the secret in the URL, which is kept nowhere.
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    PRIMARY KEY (user_id, reveal_id),
    CHECK (used_at IS NULL OR used_at < expires_at)
);
CREATE INDEX card_reveals_recent ON card_reveals (user_id, created_at);
CALL protect_user_rows('card_reveals');
GRANT SELECT, INSERT ON card_reveals TO app;
GRANT UPDATE (used_at) ON card_reveals TO app;
