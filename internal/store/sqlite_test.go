package store_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"perch/internal/store"
	"perch/internal/testdb"
)

func TestOpenKeepsTheFilesPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "perch.db")
	signIn(t, reopen(t, "sqlite:"+path), ada("ada"), "one", nil, noon)
	for name, want := range map[string]os.FileMode{
		filepath.Dir(path): 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", filepath.Base(name), got, want)
		}
	}
}

func TestOpenRefusesWhatIsNoDatabase(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, path, want string }{
		{"a folder", folder, "creating the database"},
		{"a file that is no database", text, "not a database"},
	} {
		t.Run(test.name, func(t *testing.T) { refused(t, "sqlite:"+test.path, test.want) })
	}
}

// A file that is moved or replaced takes nothing more: SQLite would write on
// into it, and what was acknowledged would be gone with the next start.
func TestAFileThatIsElsewhereTakesNoChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perch.db")
	db := reopen(t, "sqlite:"+path)
	signIn(t, db, ada("ada"), "one", nil, noon)
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	refuses := func(what string) {
		t.Helper()
		_, err := db.SignIn(t.Context(), ada("ada"), id("two"), nil, "browser", noon)
		for call, err := range map[string]error{"SignIn": err, "EndSession": db.EndSession(t.Context(), id("one")), "Ping": db.Ping(t.Context())} {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("while the file is %s, %s: %v, want ErrUnavailable", what, call, err)
			}
		}
	}

	move(path, path+".away")
	refuses("away")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses("another one")
	move(path+".away", path)
	if err := errors.Join(db.Ping(t.Context()), db.EndSession(t.Context(), id("one"))); err != nil {
		t.Errorf("once it is back: %v", err)
	}
	gone(t, db, "one")
	gone(t, db, "two")
}

// What a backup in use needs: a file made with VACUUM INTO while the store
// works is a database like the first.
func TestABackupOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perch.db")
	signIn(t, reopen(t, "sqlite:"+path), ada("ada"), "one", nil, noon)
	testdb.Exec(t, "sqlite:"+path, `VACUUM INTO '`+path+`.backup'`)
	if _, err := reopen(t, "sqlite:"+path+".backup").Session(t.Context(), id("one")); err != nil {
		t.Error(err)
	}
}

// Who reads for long, as a backup does, keeps SQLite from overwriting its log.
// Nobody waits for them for long, and a later sweep does it.
func TestWhatWasDeletedWhileSomebodyReadIsOverwrittenLater(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "perch.db")
	db := reopen(t, url)
	who := ada("ada_the_countess")
	account := signIn(t, db, who, "one", nil, noon).Account
	backup, err := testdb.Open(t, url).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer backup.Close()
	if _, err := backup.ExecContext(t.Context(), `BEGIN; SELECT * FROM accounts`); err != nil {
		t.Fatal(err)
	}

	began := time.Now()
	if err := db.DeleteAccount(t.Context(), account.ID); err != nil {
		t.Errorf("deleting while somebody reads: %v", err)
	}
	signIn(t, db, ada("eve"), "two", nil, noon)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("that, and a change after it, took %s", took)
	}
	gone(t, db, "one")
	if !testdb.Holds(t, url, who.ScreenName) {
		t.Fatal("the log was overwritten under the reader: nothing is shown")
	}
	if _, err := backup.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if _, err := db.Sweep(t.Context(), noon.Add(-time.Hour), noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	nowhere(t, url, who.ScreenName)
}
