-- +goose Up
ALTER TABLE accounts ADD COLUMN name TEXT NOT NULL DEFAULT ''; -- as the provider shows it
ALTER TABLE accounts ADD COLUMN avatar TEXT NOT NULL DEFAULT ''; -- names the content of the row in avatars
ALTER TABLE accounts ADD COLUMN profile_at BIGINT NOT NULL DEFAULT 0; -- when the provider was last asked
ALTER TABLE sessions ADD COLUMN user_agent TEXT NOT NULL DEFAULT '';

CREATE TABLE avatars (
    account_id BIGINT NOT NULL PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
    type       TEXT   NOT NULL, -- image/png, image/jpeg …
    content    BYTEA  NOT NULL
);

-- +goose Down
DROP TABLE avatars;
ALTER TABLE sessions DROP COLUMN user_agent;
ALTER TABLE accounts DROP COLUMN profile_at;
ALTER TABLE accounts DROP COLUMN avatar;
ALTER TABLE accounts DROP COLUMN name;
