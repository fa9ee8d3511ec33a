package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"time"
)

// SignIn records that account is signed in under the session id, and ends the
// session replaced (none when it is empty), all or nothing. It returns the new
// session. An account that is known by provider and user id keeps its ID and
// CreatedAt and gets the new screen name and token.
//
// A session is only ever inserted: the same id a second time is an error, so
// nothing but a sign-in can bring a session to life.
func (s *Store) SignIn(ctx context.Context, account Account, id, replaced []byte, now time.Time) (Session, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return Session{}, failed("signing in", err)
	}
	defer tx.Rollback()

	now = time.Unix(now.Unix(), 0)
	account.SignedInAt = now
	var created int64
	err = tx.QueryRowContext(ctx, `
		INSERT INTO accounts (id, provider, user_id, screen_name, token, created_at, signed_in_at)
		VALUES ($1, $2, $3, $4, $5, $6, $6)
		ON CONFLICT (provider, user_id) DO UPDATE
		SET screen_name = excluded.screen_name, token = excluded.token, signed_in_at = excluded.signed_in_at
		RETURNING id, created_at`,
		newID(), account.Provider, account.UserID, account.ScreenName, account.Token, now.Unix(),
	).Scan(&account.ID, &created)
	if err != nil {
		return Session{}, failed("storing the account", err)
	}
	account.CreatedAt = time.Unix(created, 0)
	if len(replaced) > 0 {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, replaced); err != nil {
			return Session{}, failed("ending the old session", err)
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO sessions (id, account_id, created_at, seen_at) VALUES ($1, $2, $3, $3)`,
		id, account.ID, now.Unix())
	if err != nil {
		return Session{}, failed("storing the session", err)
	}
	if err := tx.Commit(); err != nil {
		return Session{}, failed("signing in", err)
	}
	return Session{ID: id, Account: account, CreatedAt: now, SeenAt: now}, nil
}

// newID draws an account's ID, positive, so that it tells nothing about how
// many accounts there are.
func newID() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:]) >> 1)
}

const selectSession = `
	SELECT s.created_at, s.seen_at, a.id, a.provider, a.user_id, a.screen_name, a.token, a.created_at, a.signed_in_at
	FROM sessions s JOIN accounts a ON a.id = s.account_id
	WHERE s.id = $1`

// Session returns the session with the id and its account, or ErrNotFound.
// Whether it is too old is for the caller to say.
func (s *Store) Session(ctx context.Context, id []byte) (Session, error) {
	found := Session{ID: id}
	a := &found.Account
	var created, seen, accountCreated, signedIn int64
	err := s.session.QueryRowContext(ctx, id).Scan(&created, &seen,
		&a.ID, &a.Provider, &a.UserID, &a.ScreenName, &a.Token, &accountCreated, &signedIn)
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, ErrNotFound
	}
	if err != nil {
		return Session{}, failed("reading the session", err)
	}
	found.CreatedAt, found.SeenAt = time.Unix(created, 0), time.Unix(seen, 0)
	a.CreatedAt, a.SignedInAt = time.Unix(accountCreated, 0), time.Unix(signedIn, 0)
	return found, nil
}

const updateSeen = `UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2`

// Touch records that the session was used now. It is fine when the session
// has ended meanwhile: it stays ended.
func (s *Store) Touch(ctx context.Context, id []byte, now time.Time) error {
	if _, err := s.touch.ExecContext(ctx, id, now.Unix()); err != nil {
		return failed("touching the session", err)
	}
	return nil
}

// EndSession ends the session with the id, at once and for good. It is fine
// when there is none.
func (s *Store) EndSession(ctx context.Context, id []byte) error {
	if _, err := s.write.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, id); err != nil {
		return failed("ending the session", err)
	}
	return nil
}

// batch is how many rows one statement of Sweep deletes at the most, so that
// nobody waits long for the one writer.
const batch = 1000

// Sweep deletes the sessions that were made before createdBefore or last seen
// before seenBefore, and returns how many.
func (s *Store) Sweep(ctx context.Context, createdBefore, seenBefore time.Time) (swept int64, err error) {
	for {
		result, err := s.write.ExecContext(ctx, `
			DELETE FROM sessions WHERE id IN (
				SELECT id FROM sessions WHERE created_at < $1 OR seen_at < $2 LIMIT $3)`,
			createdBefore.Unix(), seenBefore.Unix(), batch)
		if err != nil {
			return swept, failed("sweeping sessions", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return swept, failed("sweeping sessions", err)
		}
		swept += n
		if n < batch {
			return swept, nil
		}
	}
}
