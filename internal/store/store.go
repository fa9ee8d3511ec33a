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
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"
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
	write *sql.DB // one connection: SQLite has one writer, and a queue here is kinder than SQLITE_BUSY
	read  *sql.DB

	session, touch *sql.Stmt
}

// patience is how long a change waits for its turn. It ends well before the
// answer that waits for it has to be there.
const patience = 4 * time.Second

// readers is how many connections read side by side.
const readers = 4

// Open opens the SQLite database in the file at path, makes it when there is
// none (its folder 0700, the file 0600) and brings its tables up to date. It
// fails when the file cannot be opened or is no database, or when a newer
// Perch has changed its tables.
func Open(ctx context.Context, path string) (*Store, error) {
	if err := createPrivate(path); err != nil {
		return nil, fmt.Errorf("creating the database: %w", err)
	}
	write, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn(path, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)

	s := &Store{write: write, read: read}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// createPrivate makes the file at path and its folder, for nobody else to
// read: SQLite by itself would make it readable for all. It leaves a file
// that exists as it is.
func createPrivate(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// dsn says what every connection of the pool must be like. A pragma run by
// hand would reach one connection only.
func dsn(path string, more ...string) string {
	pragmas := append([]string{
		"busy_timeout(5000)",
		"journal_mode(WAL)",
		"synchronous(FULL)", // a loss of power must not undo a sign-out
		"foreign_keys(1)",
		"secure_delete(1)", // what is deleted does not stay in free pages
	}, more...)
	query := url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String()
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("migrating the database: %w", err)
	}
	var err error
	if s.session, err = s.read.PrepareContext(ctx, selectSession); err != nil {
		return fmt.Errorf("preparing the database: %w", err)
	}
	if s.touch, err = s.write.PrepareContext(ctx, updateSeen); err != nil {
		return fmt.Errorf("preparing the database: %w", err)
	}
	return nil
}

func (s *Store) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, s.write, files, goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > newest {
		return fmt.Errorf("the database is of a newer Perch (version %d, this one knows %d)", current, newest)
	}
	_, err = provider.Up(ctx)
	return err
}

// Close closes the database. The Store is of no use afterwards.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close())
}

// Ping returns nil when the database answers, and ErrUnavailable otherwise.
func (s *Store) Ping(ctx context.Context) error {
	var any bool
	if err := s.read.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM sessions)`).Scan(&any); err != nil {
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

// change makes one change. Like every change it waits for its turn no longer
// than patience.
func (s *Store) change(ctx context.Context, doing, statement string, args ...any) (sql.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result, err := s.write.ExecContext(ctx, statement, args...)
	if err != nil {
		return nil, failed(doing, err)
	}
	return result, nil
}

// atOnce makes several changes, all or nothing, within patience.
func (s *Store) atOnce(ctx context.Context, doing string, do func(context.Context, *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return failed(doing, err)
	}
	defer tx.Rollback()
	if err := do(ctx, tx); err != nil {
		return failed(doing, err)
	}
	if err := tx.Commit(); err != nil {
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
