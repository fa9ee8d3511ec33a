// Package testdb gives each test a database of its own: a SQLite file, or,
// when TEST_DATABASE_URL names a PostgreSQL, a schema in that. So the same
// tests run on both.
package testdb

import (
	"database/sql"
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
	link, drop, err := Schema(server())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := drop(); err != nil {
			tb.Fatal(err)
		}
	})
	return link
}

// Open opens a database behind everybody's back, until the test ends.
func Open(tb testing.TB, url string) *sql.DB {
	tb.Helper()
	db, err := connect(url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { db.Close() })
	return db
}

// Exec runs statements behind everybody's back.
func Exec(tb testing.TB, url, statements string) {
	tb.Helper()
	if err := exec(url, statements); err != nil {
		tb.Fatal(err)
	}
}

// MakeNewer makes a database look as a Perch of the future would leave it.
func MakeNewer(tb testing.TB, url string) {
	tb.Helper()
	applied := map[bool]string{false: "1", true: "true"}[Postgres()]
	Exec(tb, url, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, `+applied+`)`)
}

// Lock holds a database, so that nobody can change it, until unlock.
func Lock(tb testing.TB, url string) (unlock func()) {
	tb.Helper()
	tx, err := Open(tb, url).Begin()
	if err != nil {
		tb.Fatal(err)
	}
	if Postgres() { // in SQLite the transaction is enough
		if _, err := tx.Exec(`LOCK TABLE accounts, sessions IN SHARE MODE`); err != nil {
			tb.Fatal(err)
		}
	}
	tb.Cleanup(func() { tx.Rollback() })
	return func() { tx.Rollback() }
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

// Holds tells whether a text stands anywhere in a database.
func Holds(tb testing.TB, url, text string) bool {
	tb.Helper()
	for _, content := range Contents(tb, url) {
		if strings.Contains(content, text) {
			return true
		}
	}
	return false
}

// Contents returns all that a database holds, by what holds it: SQLite's files,
// with what stands between the rows, or PostgreSQL's tables.
func Contents(tb testing.TB, url string) map[string]string {
	tb.Helper()
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		return files(tb, path)
	}
	db := Open(tb, url)
	defer db.Close()
	tables := map[string]string{}
	for _, table := range []string{"accounts", "sessions", "avatars"} {
		rows, err := db.Query(`SELECT * FROM ` + table)
		if err != nil {
			tb.Fatal(err)
		}
		tables[table] = text(tb, rows)
	}
	return tables
}

func text(tb testing.TB, rows *sql.Rows) string {
	tb.Helper()
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		tb.Fatal(err)
	}
	var all strings.Builder
	values, places := make([]sql.RawBytes, len(names)), make([]any, len(names))
	for i := range values {
		places[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			tb.Fatal(err)
		}
		for _, value := range values {
			all.Write(value)
			all.WriteByte('\n')
		}
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return all.String()
}

func files(tb testing.TB, path string) map[string]string {
	tb.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil || len(names) == 0 {
		tb.Fatalf("no files at %s: %v", path, err)
	}
	contents := map[string]string{}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		contents[filepath.Base(name)] = string(content)
	}
	return contents
}
