-- What cards belong to: BIN, network, currency, funding and defaults.
SET LOCAL ROLE migrator;

CREATE TABLE programs (
    program_id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    network text NOT NULL CHECK (network IN ('visa', 'mastercard')),
    bin text NOT NULL CHECK (bin ~ '^[0-9]{6,8}$'),
    currency char(3) NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    funding text NOT NULL DEFAULT 'limits' CHECK (funding IN ('limits', 'balance')),
    is_default boolean NOT NULL DEFAULT false,
    max_open_cards integer NOT NULL DEFAULT 10 CHECK (max_open_cards > 0),
    card_lifetime_months smallint NOT NULL DEFAULT 36 CHECK (card_lifetime_months BETWEEN 1 AND 120),
    default_per_transaction numeric(12, 2) NOT NULL CHECK (default_per_transaction > 0),
    default_daily numeric(12, 2) NOT NULL,
    default_monthly numeric(12, 2) NOT NULL,
    default_velocity_per_hour smallint DEFAULT 5 CHECK (default_velocity_per_hour BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL,
    CHECK (default_per_transaction <= default_daily AND default_daily <= default_monthly)
);
CREATE UNIQUE INDEX programs_one_default_per_currency ON programs (currency) WHERE is_default;

GRANT SELECT ON programs TO app, worker;
