package main

import (
	"context"
	"errors"
	"fmt"

	"perch/internal/config"
	"perch/internal/store"
)

// endSessions is `perch sessions end`. The server may run meanwhile: it asks
// the database at every request.
type endSessions struct {
	Account string `xor:"whose" required:"" placeholder:"ID" help:"Of the person with this user id at X, as the log has it."`
	All     bool   `xor:"whose" required:"" help:"Of everybody."`
}

// Run ends the sessions and says how many.
func (e endSessions) Run(ctx context.Context, c config.Config) error {
	db, err := openExisting(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	var ended int64
	if e.All {
		ended, err = db.EndAllSessions(ctx)
	} else {
		ended, err = db.EndSessionsOf(ctx, c.TwitterAPIURL.String(), e.Account)
	}
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("nobody with the user id %q has signed in here with %s", e.Account, c.TwitterAPIURL)
	}
	if err != nil {
		return fmt.Errorf("%d sessions were ended, and then: %w", ended, err)
	}
	fmt.Printf("%d sessions were ended.\n", ended)
	return nil
}

// openExisting opens a database that is in use. It makes none, for that would
// hide a wrong DATABASE_URL, and changes no tables: the server does that.
func openExisting(ctx context.Context, url string) (*store.Store, error) {
	current, newest, err := store.Versions(ctx, url)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && current == 0:
		return nil, errors.New("there is no database of Perch's where DATABASE_URL leads; is this the folder, and are these the settings, that the server runs with?")
	case err != nil:
		return nil, fmt.Errorf("the database that DATABASE_URL names cannot be used: %w", err)
	case current < newest:
		return nil, errors.New("the database is of an older Perch; start this one first, it brings the tables up to date")
	}
	return store.Open(ctx, url)
}
