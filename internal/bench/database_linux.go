package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"perch/internal/store"
	"perch/internal/testdb"
)

// fill makes the tables and the sessions, and returns what one takes.
func (s *site) fill(ctx context.Context) (bytesPerSession int64, err error) {
	db, err := store.Open(ctx, s.database)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	before, err := testdb.Size(s.database)
	if err != nil {
		return 0, err
	}
	if err := testdb.Fill(s.database, "http://"+s.sandbox, s.report.Sessions, seenAt); err != nil {
		return 0, fmt.Errorf("filling the database: %w", err)
	}
	after, err := testdb.Size(s.database)
	return (after - before) / int64(s.report.Sessions), err
}

// signIns returns how many sign-ins a second an empty database takes when 32
// people want to at once, all of them for the first time.
func signIns(ctx context.Context, link string, length time.Duration) (perSecond float64, err error) {
	db, err := store.Open(ctx, link)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	var made atomic.Int64
	var people sync.WaitGroup
	var refused [32]error
	began := time.Now()
	for i := range refused {
		people.Go(func() {
			for refused[i] == nil && time.Since(began) < length {
				refused[i] = signIn(ctx, db)
				made.Add(1)
			}
		})
	}
	people.Wait()
	return float64(made.Load()) / time.Since(began).Seconds(), errors.Join(refused[:]...)
}

// signIn signs in somebody new.
func signIn(ctx context.Context, db *store.Store) error {
	id := make([]byte, 32)
	rand.Read(id)
	_, err := db.SignIn(ctx, store.Account{Provider: "https://api.x.com", UserID: rand.Text(), ScreenName: "new", Token: make([]byte, 160)}, id, nil, "browser", time.Now())
	return err
}

// tidy measures what deletes: accounts one by one, and the sweep, while people
// sign in beside it.
func (s *site) tidy(ctx context.Context) error {
	db, err := store.Open(ctx, s.database)
	if err != nil {
		return err
	}
	defer db.Close()
	var took []time.Duration
	for i := 1; i < min(1000, s.report.Sessions); i += 10 {
		began := time.Now()
		if err := db.DeleteAccount(ctx, int64(i)); err != nil {
			return err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	s.report.DeleteAccount, s.report.DeleteAccountMost = took[len(took)/2], took[len(took)-1]

	var over atomic.Bool
	var refused error
	var somebody sync.WaitGroup
	somebody.Go(func() {
		for refused == nil && !over.Load() {
			began := time.Now()
			refused = signIn(ctx, db)
			s.report.SweepWait = max(s.report.SweepWait, time.Since(began))
		}
	})
	now, began := time.Now(), time.Now()
	s.report.Swept, err = db.Sweep(ctx, now.Add(-time.Minute), now.Add(-time.Minute))
	s.report.Sweep = time.Since(began)
	over.Store(true)
	somebody.Wait()
	return errors.Join(err, refused)
}
