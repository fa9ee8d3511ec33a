package store

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
)

// A pragma holds for one connection; these must hold for each that the pools
// ever open.
func TestEveryConnectionHasItsPragmas(t *testing.T) {
	s, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "perch.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	for _, pool := range []struct {
		name        string
		db          *sql.DB
		connections int
		wait        string // milliseconds
		queryOnly   string
	}{{"write", s.write, 1, "4000", "0"}, {"read", s.read, readers, "4000", "1"}, {"keeper", s.keeper, 1, "250", "1"}} {
		for range pool.connections {
			conn, err := pool.db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for pragma, want := range map[string]string{
				"journal_mode": "wal", "synchronous": "2", "busy_timeout": pool.wait, "foreign_keys": "1", "secure_delete": "1",
				"query_only": pool.queryOnly,
			} {
				if got := ask(t, conn, pragma); got != want {
					t.Errorf("%s connection: %s is %s, want %s", pool.name, pragma, got, want)
				}
			}
		}
	}
}

func ask(t testing.TB, conn *sql.Conn, pragma string) (value string) {
	t.Helper()
	if err := conn.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
