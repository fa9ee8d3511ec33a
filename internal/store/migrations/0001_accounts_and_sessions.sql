-- +goose Up
CREATE TABLE accounts (
    id           BIGINT NOT NULL PRIMARY KEY,
    provider     TEXT   NOT NULL, -- origin of the provider: https://api.x.com
    user_id      TEXT   NOT NULL, -- the provider's key: decimal, up to 64 bits, so kept as text
    screen_name  TEXT   NOT NULL, -- shown, never a key: it changes and is used again by others
    token        BYTEA  NOT NULL, -- the access token and its secret, encrypted
    created_at   BIGINT NOT NULL, -- Unix seconds, like every time here
    signed_in_at BIGINT NOT NULL,
    UNIQUE (provider, user_id)
);

CREATE TABLE sessions (
    id         BYTEA  NOT NULL PRIMARY KEY, -- SHA-256 of the id in the cookie
    account_id BIGINT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

CREATE INDEX sessions_account_id ON sessions (account_id);
CREATE INDEX sessions_created_at ON sessions (created_at);
CREATE INDEX sessions_seen_at ON sessions (seen_at);

-- +goose Down
DROP TABLE sessions;
DROP TABLE accounts;
