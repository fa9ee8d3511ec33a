package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"
)

// IsSQLite tells whether the URL names a SQLite file.
func IsSQLite(url string) bool { return strings.HasPrefix(url, "sqlite:") }

// readers is how many connections read side by side.
const readers = 4

func openSQLite(ctx context.Context, url string) (*Store, error) {
	path := strings.TrimPrefix(url, "sqlite:")
	file, err := createPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("creating the database: %w", err)
	}
	write, err := sql.Open("sqlite", dsn(path, patience))
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	write.SetMaxOpenConns(1) // SQLite has one writer, and a queue here is kinder than SQLITE_BUSY
	read, err := sql.Open("sqlite", dsn(path, patience, "query_only(1)"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), write.Close())
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)

	if err := migrate(ctx, goose.DialectSQLite3, write); err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	keeper, err := openKeeper(ctx, path)
	if err != nil {
		return nil, errors.Join(err, read.Close(), write.Close())
	}
	cache := newCache(path)
	return &Store{write: write, read: read, keeper: keeper, changes: newTogether(write, keeper, file, cache), file: file, cache: cache}, nil
}

// openKeeper opens the one connection whose statements are never broken off.
// The others are closed when that becomes of theirs; were all of them, another
// process that closes the database would take the WAL-index away, and the
// cache would look at one that nobody changes any more. It waits for others for
// 250 ms alone.
func openKeeper(ctx context.Context, path string) (*sql.DB, error) {
	keeper, err := sql.Open("sqlite", dsn(path, 250*time.Millisecond, "query_only(1)"))
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	keeper.SetMaxOpenConns(1)
	if _, err := keeper.ExecContext(ctx, `SELECT 1 FROM sessions LIMIT 1`); err != nil { // it takes its locks when it first reads
		return nil, errors.Join(fmt.Errorf("opening the database: %w", err), keeper.Close())
	}
	return keeper, nil
}

// lookSQLite opens a database that is there, to look at it.
func lookSQLite(link string) (goose.Dialect, *sql.DB, error) {
	path := strings.TrimPrefix(link, "sqlite:")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil, ErrNotFound
	}
	// Not read-only: then SQLite would leave the files behind that it makes.
	db, err := sql.Open("sqlite", location(path, url.Values{"mode": {"rw"}, "_pragma": {"busy_timeout(2000)"}}))
	return goose.DialectSQLite3, db, err
}

// createPrivate makes the file at path and its folder, for nobody else to
// read: SQLite by itself would make it readable for all. It leaves a file
// that exists as it is.
func createPrivate(path string) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	return &file{path, info}, errors.Join(err, f.Close())
}

// dsn says what every connection of the pool must be like, which waits so long
// for others. A pragma run by hand would reach one connection only.
func dsn(path string, wait time.Duration, more ...string) string {
	pragmas := append([]string{
		fmt.Sprintf("busy_timeout(%d)", wait.Milliseconds()),
		"journal_mode(WAL)",
		"synchronous(FULL)", // a loss of power must not undo a sign-out
		"foreign_keys(1)",
		"secure_delete(1)", // what is deleted does not stay in free pages
	}, more...)
	return location(path, url.Values{"_pragma": pragmas, "_txlock": {"immediate"}})
}

func location(path string, query url.Values) string {
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: query.Encode()}).String()
}

// A file is the one that was opened, wherever its path leads later.
type file struct {
	path string
	info fs.FileInfo
}

// present fails while the path leads elsewhere: SQLite would go on writing to
// a file that was moved or removed, and what it acknowledges would be lost
// with it.
func (f *file) present() error {
	if f == nil {
		return nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	if !os.SameFile(info, f.info) {
		return errors.New("the file was replaced: Perch has to be started anew")
	}
	return nil
}
