package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// maxSessions is how many browsers one account is signed in with at the most.
// The oldest goes.
const maxSessions = 20

// SignIn records that account is signed in under the session id, and ends the
// session replaced (none when it is empty) and the oldest ones beyond twenty,
// all or nothing. It returns the new session. An account that is known by
// provider and user id keeps its ID, CreatedAt and profile, and gets the new
// screen name and token.
//
// A session is only ever inserted: the same id a second time is an error, so
// nothing but a sign-in can bring a session to life.
func (s *Store) SignIn(ctx context.Context, account Account, id, replaced []byte, userAgent string, now time.Time) (Session, error) {
	now = time.Unix(now.Unix(), 0)
	account.SignedInAt = now
	what := concern{session: replaced}
	err := s.atOnce(ctx, "signing in", &what, func(ctx context.Context, q querier) error {
		var created, profileAt int64
		err := q.QueryRowContext(ctx, `
			INSERT INTO accounts (id, provider, user_id, screen_name, token, created_at, signed_in_at)
			VALUES ($1, $2, $3, $4, $5, $6, $6)
			ON CONFLICT (provider, user_id) DO UPDATE
			SET screen_name = excluded.screen_name, token = excluded.token, signed_in_at = excluded.signed_in_at
			RETURNING id, created_at, name, avatar, profile_at`,
			newID(), account.Provider, account.UserID, account.ScreenName, account.Token, now.Unix(),
		).Scan(&account.ID, &created, &account.Name, &account.Avatar, &profileAt)
		if err != nil {
			return fmt.Errorf("storing the account: %w", err)
		}
		what.account = account.ID
		account.CreatedAt, account.ProfileAt = time.Unix(created, 0), time.Unix(profileAt, 0)
		if len(replaced) > 0 {
			if _, err := q.ExecContext(ctx, `DELETE FROM sessions WHERE id = $1`, replaced); err != nil {
				return fmt.Errorf("ending the old session: %w", err)
			}
		}
		_, err = q.ExecContext(ctx, `INSERT INTO sessions (id, account_id, user_agent, created_at, seen_at) VALUES ($1, $2, $3, $4, $4)`,
			id, account.ID, userAgent, now.Unix())
		if err != nil {
			return fmt.Errorf("storing the session: %w", err)
		}
		_, err = q.ExecContext(ctx, `
			DELETE FROM sessions WHERE account_id = $1 AND id <> $2 AND id NOT IN (
				SELECT id FROM sessions WHERE account_id = $1 AND id <> $2 ORDER BY created_at DESC, id LIMIT $3)`,
			account.ID, id, maxSessions-1)
		if err != nil {
			return fmt.Errorf("ending the oldest sessions: %w", err)
		}
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	return Session{ID: id, Account: account, UserAgent: userAgent, CreatedAt: now, SeenAt: now}, nil
}

// newID draws an account's ID, positive, so that it tells nothing about how
// many accounts there are.
func newID() int64 {
	var b [8]byte
	rand.Read(b[:])
	return int64(binary.BigEndian.Uint64(b[:]) >> 1)
}

const selectSession = `
	SELECT s.created_at, s.seen_at, s.user_agent, a.id, a.provider, a.user_id, a.screen_name, a.name, a.avatar, a.token,
		a.created_at, a.signed_in_at, a.profile_at
	FROM sessions s JOIN accounts a ON a.id = s.account_id
	WHERE s.id = $1`

// Session returns the session with the id and its account, or ErrNotFound.
// Whether it is too old is for the caller to say.
func (s *Store) Session(ctx context.Context, id []byte) (Session, error) {
	if known, ok := s.cache.get(id); ok {
		return known, nil
	}
	read := s.cache.now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found := Session{ID: id}
	a := &found.Account
	var created, seen, accountCreated, signedIn, profileAt int64
	err := s.session.QueryRowContext(ctx, id).Scan(&created, &seen, &found.UserAgent,
		&a.ID, &a.Provider, &a.UserID, &a.ScreenName, &a.Name, &a.Avatar, &a.Token, &accountCreated, &signedIn, &profileAt)
	if errors.Is(err, sql.ErrNoRows) {
		return Session{}, ErrNotFound
	}
	if err != nil {
		return Session{}, failed("reading the session", err)
	}
	found.CreatedAt, found.SeenAt = time.Unix(created, 0), time.Unix(seen, 0)
	a.CreatedAt, a.SignedInAt, a.ProfileAt = time.Unix(accountCreated, 0), time.Unix(signedIn, 0), time.Unix(profileAt, 0)
	s.cache.put(read, found)
	return found, nil
}

// Touch records that the session was used now. It is fine when the session
// has ended meanwhile: it stays ended.
func (s *Store) Touch(ctx context.Context, id []byte, now time.Time) error {
	_, err := s.change(ctx, "touching the session", concern{session: id}, `UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $2`, id, now.Unix())
	return err
}

// EndSession ends the session with the id, at once and for good. It is fine
// when there is none.
func (s *Store) EndSession(ctx context.Context, id []byte) error {
	_, err := s.change(ctx, "ending the session", concern{session: id}, `DELETE FROM sessions WHERE id = $1`, id)
	return err
}

// Sessions returns the account's sessions, the newest first, without the
// account in them.
func (s *Store) Sessions(ctx context.Context, account int64) ([]Session, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	rows, err := s.read.QueryContext(ctx, `
		SELECT id, user_agent, created_at, seen_at FROM sessions WHERE account_id = $1 ORDER BY created_at DESC, id`, account)
	if err != nil {
		return nil, failed("listing sessions", err)
	}
	defer rows.Close()
	var all []Session
	for rows.Next() {
		var one Session
		var created, seen int64
		if err := rows.Scan(&one.ID, &one.UserAgent, &created, &seen); err != nil {
			return nil, failed("listing sessions", err)
		}
		one.CreatedAt, one.SeenAt = time.Unix(created, 0), time.Unix(seen, 0)
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		return nil, failed("listing sessions", err)
	}
	return all, nil
}

// CountSessions returns how many sessions there are of all accounts, with
// those that are over and not swept yet.
func (s *Store) CountSessions(ctx context.Context) (n int64, err error) {
	if err := s.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM sessions`).Scan(&n); err != nil {
		return 0, failed("counting sessions", err)
	}
	return n, nil
}

// EndSessionsBut ends all sessions of the account but one; all when keep is
// empty.
func (s *Store) EndSessionsBut(ctx context.Context, account int64, keep []byte) error {
	// A nil slice would be NULL, which no id is unlike.
	_, err := s.change(ctx, "ending sessions", concern{account: account}, `DELETE FROM sessions WHERE account_id = $1 AND id <> $2`, account, append([]byte{}, keep...))
	return err
}

// EndSessionsOf ends all sessions of a person at a provider, and returns how
// many. The error is ErrNotFound when the person never signed in.
func (s *Store) EndSessionsOf(ctx context.Context, provider, userID string) (ended int64, err error) {
	var account int64
	err = s.read.QueryRowContext(ctx, `SELECT id FROM accounts WHERE provider = $1 AND user_id = $2`, provider, userID).Scan(&account)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, ErrNotFound
	}
	if err != nil {
		return 0, failed("finding the account", err)
	}
	return s.endInBatches(ctx, "ending sessions", `
		DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE account_id = $2 LIMIT $1)`, account)
}

// EndAllSessions ends all sessions of everybody, and returns how many.
func (s *Store) EndAllSessions(ctx context.Context) (ended int64, err error) {
	return s.endInBatches(ctx, "ending all sessions", `
		DELETE FROM sessions WHERE id IN (SELECT id FROM sessions ORDER BY created_at LIMIT $1)`)
}

// Sweep deletes the sessions that were made before createdBefore or last seen
// before seenBefore, and returns how many.
func (s *Store) Sweep(ctx context.Context, createdBefore, seenBefore time.Time) (swept int64, err error) {
	return s.endInBatches(ctx, "sweeping sessions", `
		DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE created_at < $2 OR seen_at < $3 LIMIT $1)`,
		createdBefore.Unix(), seenBefore.Unix())
}

// batch is how many rows one statement deletes at the most, so that nobody
// waits long for the one writer.
const batch = 250

// endInBatches repeats a statement that deletes $1 sessions at the most, until
// there are no more.
func (s *Store) endInBatches(ctx context.Context, doing, statement string, args ...any) (ended int64, err error) {
	args = append([]any{batch}, args...)
	for {
		result, err := s.change(ctx, doing, concern{}, statement, args...)
		if err != nil {
			return ended, err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return ended, failed(doing, err)
		}
		ended += n
		if n < batch {
			return ended, nil
		}
	}
}
