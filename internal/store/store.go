// Package store keeps accounts and sessions in the database: SQL and nothing
// but SQL.
//
// What a method has acknowledged survives a crash and a loss of power. Times
// go in and out as time.Time and are stored as Unix seconds.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
)

// ErrNotFound says that there is no such row, or that it is over.
var ErrNotFound = errors.New("not found")

// ErrUnavailable says that the database did not answer as it should: it is
// gone, locked, full or read-only. The same call may succeed later.
var ErrUnavailable = errors.New("database unavailable")

//go:embed migrations/*.sql
var migrations embed.FS

// Store is an open database. It is safe for use by many goroutines.
type Store struct {
	write, read *sql.DB // with PostgreSQL both are the same
	keeper      *sql.DB // of SQLite, else nil
	session     *sql.Stmt
	changes     changer
	file        *file  // of SQLite, else nil
	cache       *cache // of SQLite, else nil
}

// A changer makes changes: PostgreSQL's side by side, SQLite's together.
type changer interface {
	// make makes a change of one statement, or of several, all or nothing, until
	// ctx is done: what became of it then is unknown, as when a connection
	// breaks. What it concerns is looked at when it is made.
	make(ctx context.Context, what *concern, several bool, change change) error

	close()
}

// A change runs the statements it is made of.
type change func(context.Context, querier) error

// A querier runs statements: the database, or a transaction.
type querier interface {
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, statement string, args ...any) *sql.Row
}

// patience is how long a statement waits for the database. It ends well before
// the answer that waits for it has to be there.
const patience = 4 * time.Second

// Open opens the database that url names and brings its tables up to date:
// sqlite: and the path of a file, which is made when there is none (its folder
// 0700, the file 0600), or a postgres:// URL. It fails when the database does
// not answer or is none, or when a newer Perch has changed its tables. No
// error holds a password of the URL.
func Open(ctx context.Context, url string) (*Store, error) {
	open := openPostgres
	if IsSQLite(url) {
		open = openSQLite
	}
	s, err := open(ctx, url)
	if err != nil {
		return nil, err
	}
	if s.session, err = s.read.PrepareContext(ctx, selectSession); err != nil {
		return nil, errors.Join(fmt.Errorf("preparing the database: %w", err), s.Close())
	}
	return s, nil
}

// migrate brings the tables up to date over db.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB) error {
	steps, err := steps(dialect, db)
	if err != nil {
		return err
	}
	current, newest, err := steps.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	if current > newest {
		return fmt.Errorf("the database is of a newer Perch (version %d, this one knows %d)", current, newest)
	}
	if _, err := steps.Up(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	return nil
}

// steps are the migrations, to be made over db.
func steps(dialect goose.Dialect, db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(dialect, db, files, goose.WithSlog(slog.New(slog.DiscardHandler)))
}

// Versions tells how far the tables of a database are, and how far this Perch
// would bring them: 0 while there are none. It changes nothing. The error is
// ErrNotFound when there is no such SQLite file, and else says why the database
// does not answer, without a password of the URL.
func Versions(ctx context.Context, url string) (current, newest int64, err error) {
	look := lookPostgres
	if IsSQLite(url) {
		look = lookSQLite
	}
	dialect, db, err := look(url)
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	steps, err := steps(dialect, db)
	if err != nil {
		return 0, 0, err
	}
	for _, step := range steps.ListSources() {
		newest = max(newest, step.Version)
	}
	if current, err = latest(ctx, dialect, db); err != nil {
		return 0, 0, fmt.Errorf("looking at the database: %w", oneLine{err})
	}
	return current, newest, nil
}

// latest reads the newest version from goose's table. Goose itself would make
// the table.
func latest(ctx context.Context, dialect goose.Dialect, db *sql.DB) (version int64, err error) {
	exists := `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = $1)`
	if dialect == goose.DialectPostgres {
		exists = `SELECT to_regclass($1) IS NOT NULL`
	}
	var made bool
	if err := db.QueryRowContext(ctx, exists, goose.DefaultTablename).Scan(&made); err != nil || !made {
		return 0, err
	}
	err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM `+goose.DefaultTablename+` WHERE is_applied`).Scan(&version)
	return version, err
}

// Close closes the database. The Store is of no use afterwards.
func (s *Store) Close() error {
	s.changes.close()
	err := errors.Join(s.read.Close(), s.write.Close())
	if s.keeper != nil {
		err = errors.Join(err, s.keeper.Close())
	}
	return errors.Join(err, s.cache.close()) // last: with its file it drops the locks of all
}

// Ping returns nil when the database answers, and ErrUnavailable otherwise.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var any bool
	err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sessions)`).Scan(&any)
	if err = errors.Join(err, s.file.present()); err != nil {
		return failed("asking the database", err)
	}
	return nil
}

// Account is a person at a provider.
type Account struct {
	ID         int64  // ours, drawn at random
	Provider   string // the provider's origin
	UserID     string // the provider's key for the person
	ScreenName string // without the @
	Name       string // as the provider shows it, empty while unknown
	Avatar     string // names the content of the avatar, empty while there is none
	Token      []byte // the access token, encrypted by the caller; empty when the connection is gone
	CreatedAt  time.Time
	SignedInAt time.Time
	ProfileAt  time.Time // when the provider was last asked for the profile; the Unix epoch for never
}

// Session is a browser in which an account is signed in.
type Session struct {
	ID        []byte // SHA-256 of the id in the cookie
	Account   Account
	UserAgent string // as the browser called itself at the sign-in
	CreatedAt time.Time
	SeenAt    time.Time
}

// change makes a change of one statement, within patience.
func (s *Store) change(ctx context.Context, doing string, what concern, statement string, args ...any) (sql.Result, error) {
	var made sql.Result
	err := s.make(ctx, doing, &what, false, func(ctx context.Context, q querier) (err error) {
		made, err = q.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		return nil, err // made may still be made
	}
	return made, nil
}

// atOnce makes a change of several statements, all or nothing, within patience.
func (s *Store) atOnce(ctx context.Context, doing string, what *concern, do change) error {
	return s.make(ctx, doing, what, true, do)
}

func (s *Store) make(ctx context.Context, doing string, what *concern, several bool, do change) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.changes.make(ctx, what, several, do); err != nil {
		return failed(doing, err)
	}
	return nil
}

// failed says what was being tried when the database refused. A visitor who
// went away is no fault of the database.
func failed(doing string, err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
}
