package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// connections is how many one instance opens at the most. PostgreSQL takes 100
// in all unless told otherwise.
const connections = 10

// postgresDefaults hold unless the URL says otherwise.
var postgresDefaults = map[string]string{
	"application_name":                    "perch",
	"connect_timeout":                     "2",     // seconds
	"statement_timeout":                   "4000",  // milliseconds, as patience
	"idle_in_transaction_session_timeout": "10000", // milliseconds: of an instance that is gone
	"synchronous_commit":                  "on",    // a loss of power must not undo a sign-out
}

func openPostgres(ctx context.Context, url string) (*Store, error) {
	config, err := parsePostgres(url)
	if err != nil {
		return nil, err
	}
	if err := migratePostgres(ctx, *config); err != nil {
		return nil, fmt.Errorf("opening the database: %w", oneLine{err})
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	db.SetConnMaxLifetime(time.Hour) // so that a database that moved is found
	return &Store{write: db, read: db, changes: &apart{db, make(chan struct{}, connections-2)}}, nil
}

// lookPostgres opens a database to look at it.
func lookPostgres(url string) (goose.Dialect, *sql.DB, error) {
	config, err := parsePostgres(url)
	if err != nil {
		return "", nil, err
	}
	return goose.DialectPostgres, stdlib.OpenDB(*config), nil
}

// parsePostgres reads the URL. Its error is not pgx's, which quotes it.
func parsePostgres(link string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, errors.New("the URL of the database cannot be read")
	}
	query := u.Query()
	for name, value := range postgresDefaults {
		if !query.Has(name) {
			query.Set(name, value)
		}
	}
	u.RawQuery = query.Encode()
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		why := err.Error()
		return nil, fmt.Errorf("the URL of the database cannot be used: %s", why[strings.LastIndex(why, "`: ")+len("`: "):])
	}
	return config, nil
}

// migratePostgres migrates over connections of its own, for a migration may
// take longer than any other statement. Instances that start together do it
// one after the other: the first takes a lock, which ends with its connection.
func migratePostgres(ctx context.Context, config pgx.ConnConfig) error {
	config.RuntimeParams = maps.Clone(config.RuntimeParams)
	config.RuntimeParams["statement_timeout"] = "0"
	db := stdlib.OpenDB(config)
	defer db.Close()
	lock, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_lock(hashtext('perch migrations ' || current_schema()))`); err != nil {
		return err
	}
	return migrate(ctx, goose.DialectPostgres, db)
}

// An apart makes PostgreSQL's changes, side by side.
type apart struct {
	db    *sql.DB
	turns chan struct{} // a place for each; two connections stay for those who only read
}

func (a *apart) close() {}

// make tries until the change is made or refused. Two changes that wait for
// one another are told apart by PostgreSQL, which gives up one of them: that
// one is in order, and only has to be made again.
func (a *apart) make(ctx context.Context, _ *concern, several bool, change change) error {
	done, err := a.queue(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = a.try(ctx, several, change)
	for deadlocked(err) && ctx.Err() == nil {
		err = a.try(ctx, several, change)
	}
	return err
}

// queue waits for its turn: first come, first served, where database/sql takes
// any of those who wait. In a rush somebody would wait until it is over.
func (a *apart) queue(ctx context.Context) (done func(), err error) {
	select {
	case a.turns <- struct{}{}:
		return func() { <-a.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *apart) try(ctx context.Context, several bool, change change) error {
	if !several {
		return change(ctx, a.db)
	}
	tx, err := a.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := change(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// deadlocked tells whether PostgreSQL gave up the change for another one's sake
// (SQLSTATE 40P01).
func deadlocked(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "40P01"
}

// oneLine is a cause that PostgreSQL's client tells in several.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.Join(strings.Fields(e.error.Error()), " ") }

func (e oneLine) Unwrap() error { return e.error }
