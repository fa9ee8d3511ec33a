// Package testdb gives each test a database of its own: a SQLite file, or,
// when TEST_DATABASE_URL names a PostgreSQL, a schema in that. So the same
// tests run on both.
package testdb

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

// server is the PostgreSQL to use; empty for SQLite.
func server() string { return os.Getenv("TEST_DATABASE_URL") }

// Postgres tells whether the databases are PostgreSQL's.
func Postgres() bool { return server() != "" }

// New returns the URL of an empty database, which is gone after the test.
func New(tb testing.TB) string {
	tb.Helper()
	if !Postgres() {
		return "sqlite:" + filepath.Join(tb.TempDir(), "perch.db")
	}
	schema := "perch_test_" + strings.ToLower(rand.Text())
	Exec(tb, server(), "CREATE SCHEMA "+schema)
	tb.Cleanup(func() { Exec(tb, server(), "DROP SCHEMA "+schema+" CASCADE") })
	u, err := url.Parse(server())
	if err != nil {
		tb.Fatal("TEST_DATABASE_URL cannot be read as a URL")
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String()
}

// Open opens a database behind everybody's back, until the test ends.
func Open(tb testing.TB, url string) *sql.DB {
	tb.Helper()
	driver, name := "pgx", url
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		driver, name = "sqlite", "file:"+path+"?_pragma=busy_timeout(5000)&_txlock=immediate"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

// Exec runs statements behind everybody's back.
func Exec(tb testing.TB, url, statements string) {
	tb.Helper()
	db := Open(tb, url)
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		tb.Fatal(err)
	}
}

// RefuseUpdates makes every update of a table's rows fail.
func RefuseUpdates(tb testing.TB, url, table string) {
	tb.Helper()
	if Postgres() {
		Exec(tb, url, `CREATE FUNCTION refuse() RETURNS trigger AS $$ BEGIN RAISE 'refused'; END $$ LANGUAGE plpgsql;
			CREATE TRIGGER refuse BEFORE UPDATE ON `+table+` EXECUTE FUNCTION refuse()`)
		return
	}
	Exec(tb, url, `CREATE TRIGGER refuse BEFORE UPDATE ON `+table+` BEGIN SELECT RAISE(ABORT, 'refused'); END`)
}

// Holds tells whether a text stands anywhere in a database: in SQLite's files,
// between the rows too, or in PostgreSQL's rows.
func Holds(tb testing.TB, url, text string) bool {
	tb.Helper()
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		return inFiles(tb, path, text)
	}
	db := Open(tb, url)
	defer db.Close()
	for _, table := range []string{"accounts", "sessions", "avatars"} {
		var holds bool
		err := db.QueryRow(`SELECT EXISTS (SELECT 1 FROM `+table+` t WHERE position($1 IN t::text) > 0 OR position($2 IN t::text) > 0)`,
			strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD"), hex.EncodeToString([]byte(text)), // as text, and as bytes
		).Scan(&holds)
		if err != nil {
			tb.Fatal(err)
		}
		if holds {
			return true
		}
	}
	return false
}

func inFiles(tb testing.TB, path, text string) bool {
	tb.Helper()
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no files at %s: %v", path, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		if bytes.Contains(content, []byte(text)) {
			return true
		}
	}
	return false
}
