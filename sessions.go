package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"perch/internal/config"
	"perch/internal/store"
)

// endCommand is `perch sessions end`. The server may run meanwhile: it asks the
// database at every request.
func endCommand(s *config.Settings) *cobra.Command {
	var account string
	var all bool
	var cmd *cobra.Command
	cmd = &cobra.Command{
		Use:   "end",
		Short: "End sessions, of one person or of everybody.",
		Long:  "End sessions, of one person or of everybody: their browsers are signed\nout at once.",
		Args:  noArgs,
		RunE: with(s, func(ctx context.Context, c config.Config) error {
			if account == "" && !all || all && cmd.Flags().Changed("account") {
				return errors.New("perch sessions end needs to know whose: --account=ID or --all")
			}
			return endSessions(ctx, c, account)
		}),
	}
	cmd.Flags().StringVar(&account, "account", "", "Of the person with this user `ID` at X, as the log has it.")
	cmd.Flags().BoolVar(&all, "all", false, "Of everybody.")
	return cmd
}

// endSessions ends the sessions of one person, or of everybody when account is
// empty, and says how many.
func endSessions(ctx context.Context, c config.Config, account string) error {
	db, err := openExisting(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	var ended int64
	if account == "" {
		ended, err = db.EndAllSessions(ctx)
	} else {
		ended, err = db.EndSessionsOf(ctx, c.TwitterAPIURL.String(), account)
	}
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("nobody with the user id %q has signed in here with %s", account, c.TwitterAPIURL)
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
