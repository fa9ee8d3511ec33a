package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Avatar is a person's picture.
type Avatar struct {
	Name    string // names the content: another name is another picture
	Type    string // its media type
	Content []byte
}

// SetProfile records what the provider said of the account at a time. A zero
// avatar leaves the one that is there. It is fine when the account is gone
// meanwhile: it stays so.
func (s *Store) SetProfile(ctx context.Context, account int64, screenName, name string, avatar Avatar, at time.Time) error {
	return s.atOnce(ctx, "storing the profile", &concern{account: account}, func(ctx context.Context, q querier) error {
		updated, err := q.ExecContext(ctx, `
			UPDATE accounts SET screen_name = $2, name = $3, profile_at = $4, avatar = CASE WHEN $5 = '' THEN avatar ELSE $5 END
			WHERE id = $1`,
			account, screenName, name, at.Unix(), avatar.Name)
		if err != nil || avatar.Name == "" {
			return err
		}
		if n, err := updated.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = q.ExecContext(ctx, `
			INSERT INTO avatars (account_id, type, content) VALUES ($1, $2, $3)
			ON CONFLICT (account_id) DO UPDATE SET type = excluded.type, content = excluded.content`,
			account, avatar.Type, avatar.Content)
		return err
	})
}

// SetProfileAt records that the provider was asked for the profile, in vain.
func (s *Store) SetProfileAt(ctx context.Context, account int64, at time.Time) error {
	_, err := s.change(ctx, "storing when the profile was asked for", concern{account: account}, `UPDATE accounts SET profile_at = $2 WHERE id = $1`, account, at.Unix())
	return err
}

// Avatar returns the account's picture, or ErrNotFound.
func (s *Store) Avatar(ctx context.Context, account int64) (Avatar, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found Avatar
	err := s.read.QueryRowContext(ctx, `
		SELECT a.avatar, v.type, v.content FROM avatars v JOIN accounts a ON a.id = v.account_id WHERE a.id = $1`, account,
	).Scan(&found.Name, &found.Type, &found.Content)
	if errors.Is(err, sql.ErrNoRows) {
		return Avatar{}, ErrNotFound
	}
	if err != nil {
		return Avatar{}, failed("reading the avatar", err)
	}
	return found, nil
}

// SetToken replaces the account's encrypted access token, if it still is the
// old one.
func (s *Store) SetToken(ctx context.Context, account int64, old, new []byte) error {
	_, err := s.change(ctx, "storing the token", concern{account: account}, `UPDATE accounts SET token = $3 WHERE id = $1 AND token = $2`, account, old, new)
	return err
}

// Disconnect forgets the account's access token and ends all its sessions.
func (s *Store) Disconnect(ctx context.Context, account int64) error {
	return s.atOnce(ctx, "disconnecting the account", &concern{account: account}, func(ctx context.Context, q querier) error {
		if _, err := q.ExecContext(ctx, `UPDATE accounts SET token = $2 WHERE id = $1`, account, []byte{}); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, `DELETE FROM sessions WHERE account_id = $1`, account)
		return err
	})
}

// DeleteAccount forgets the account and all that belongs to it. With SQLite
// nothing of it stays in the file: free pages are overwritten (secure_delete),
// and so is the log of what was written last. While somebody reads that for
// long, as a backup does, it is left to a later change, a Sweep at the latest.
// PostgreSQL overwrites what is deleted in its own time (VACUUM).
func (s *Store) DeleteAccount(ctx context.Context, account int64) error {
	// What belongs to the account goes with it (ON DELETE CASCADE).
	_, err := s.change(ctx, "deleting the account", concern{account: account, erase: true}, `DELETE FROM accounts WHERE id = $1`, account)
	return err
}
