package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"perch/internal/store"
	"perch/internal/testdb"
)

var noon = time.Unix(1_800_000_000, 0)

// open opens a new database for the test.
func open(t testing.TB) (db *store.Store, url string) {
	t.Helper()
	url = testdb.New(t)
	return reopen(t, url), url
}

func reopen(t testing.TB, url string) *store.Store {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func id(name string) []byte { return []byte(fmt.Sprintf("%-32s", name)) }

func ada(screenName string) store.Account {
	return store.Account{Provider: "https://api.x.com", UserID: "42", ScreenName: screenName, Token: []byte("sealed " + screenName)}
}

func signIn(t testing.TB, db *store.Store, a store.Account, session string, replaced []byte, now time.Time) store.Session {
	t.Helper()
	got, err := db.SignIn(t.Context(), a, id(session), replaced, "browser", now)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOpenRefusesTheDatabaseOfANewerPerch(t *testing.T) {
	url := testdb.New(t)
	reopen(t, url).Close()
	testdb.MakeNewer(t, url)
	refused(t, url, "the database is of a newer Perch (version 9999, this one knows")
}

// refused fails when a database opens, or is refused in other words.
func refused(t testing.TB, url, want string) {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err == nil {
		db.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

func TestInstancesThatStartTogetherMigrateOnce(t *testing.T) {
	url := testdb.New(t)
	var instances sync.WaitGroup
	for range map[bool]int{false: 1, true: 8}[testdb.Postgres()] { // a SQLite file is one instance's
		instances.Go(func() {
			db, err := store.Open(t.Context(), url)
			if err != nil {
				t.Error(err)
				return
			}
			db.Close()
		})
	}
	instances.Wait()
	signIn(t, reopen(t, url), ada("ada"), "one", nil, noon)
}

// Somebody else holds the database, and lets go of it again.
func TestALockedDatabaseIsUnavailableUntilItIsFree(t *testing.T) {
	db, url := open(t)
	signIn(t, db, ada("ada"), "one", nil, noon)
	unlock := testdb.Lock(t, url)
	began := time.Now()
	if err := db.EndSession(t.Context(), id("one")); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("ending a session: %v, want ErrUnavailable", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("that took %v", took)
	}
	if _, err := db.Session(t.Context(), id("one")); err != nil {
		t.Errorf("reading meanwhile: %v", err)
	}

	unlock()
	if err := db.EndSession(t.Context(), id("one")); err != nil {
		t.Errorf("once it is free: %v", err)
	}
	gone(t, db, "one")
}

// Two changes wait for one another. PostgreSQL gives up ours, which came first;
// it is made again. SQLite makes one after the other.
func TestChangesAtCrossPurposesAreBothMade(t *testing.T) {
	db, url := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account.ID
	signIn(t, db, ada("ada"), "two", nil, noon)
	hand := testdb.Open(t, url)
	other, err := hand.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback()
	take := func(session string) {
		t.Helper()
		if _, err := other.Exec(`UPDATE sessions SET user_agent = 'other' WHERE id = $1`, id(session)); err != nil {
			t.Fatal(err)
		}
	}

	take("two")
	ended := make(chan error)
	go func() { ended <- db.EndSessionsBut(t.Context(), account, nil) }()
	for waiting := !testdb.Postgres(); !waiting; time.Sleep(time.Millisecond) {
		if err := hand.QueryRow(`SELECT EXISTS (SELECT 1 FROM pg_stat_activity
			WHERE query LIKE 'DELETE FROM sessions%' AND wait_event_type = 'Lock' AND cardinality(pg_blocking_pids(pid)) > 0)`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	take("one")
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	gone(t, db, "one")
	gone(t, db, "two")
}

func TestAnAccountIsKnownByProviderAndUserID(t *testing.T) {
	db, _ := open(t)
	first := signIn(t, db, ada("ada"), "one", nil, noon)

	renamed := signIn(t, db, ada("countess"), "two", nil, noon.Add(time.Hour))
	if renamed.Account.ID != first.Account.ID || !renamed.Account.CreatedAt.Equal(noon) {
		t.Errorf("after a rename the account is %+v, want the one of %+v", renamed.Account, first.Account)
	}
	read, err := db.Session(t.Context(), id("one"))
	if err != nil {
		t.Fatal(err)
	}
	if read.Account.ScreenName != "countess" || string(read.Account.Token) != "sealed countess" {
		t.Errorf("the older session shows %q with %q, want the new name and token", read.Account.ScreenName, read.Account.Token)
	}

	elsewhere := ada("ada")
	elsewhere.Provider = "http://localhost:8081"
	if other := signIn(t, db, elsewhere, "three", nil, noon); other.Account.ID == first.Account.ID {
		t.Error("the same user id at another provider is the same account")
	}
}

func TestSignInReturnsWhatSessionReads(t *testing.T) {
	db, _ := open(t)
	want := signIn(t, db, ada("ada"), "one", nil, noon)
	got, err := db.Session(t.Context(), id("one"))
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read  %v\nwrote %v", got, want)
	}
}

func TestOnlyASignInMakesASession(t *testing.T) {
	db, _ := open(t)
	signIn(t, db, ada("ada"), "one", nil, noon)
	if err := db.EndSession(t.Context(), id("one")); err != nil {
		t.Fatal(err)
	}
	if err := db.Touch(t.Context(), id("one"), noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	gone(t, db, "one")

	signIn(t, db, ada("ada"), "two", nil, noon)
	if _, err := db.SignIn(t.Context(), ada("eve"), id("two"), nil, "browser", noon); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the same id a second time: %v, want a refusal", err)
	}
	if got, err := db.Session(t.Context(), id("two")); err != nil || got.Account.ScreenName != "ada" {
		t.Errorf("a refused sign-in left %q, %v", got.Account.ScreenName, err)
	}
}

func TestSigningInAgainEndsTheOldSession(t *testing.T) {
	db, _ := open(t)
	signIn(t, db, ada("ada"), "one", nil, noon)
	signIn(t, db, ada("ada"), "two", id("one"), noon)
	gone(t, db, "one")
}

func gone(t testing.TB, db *store.Store, session string) {
	t.Helper()
	if _, err := db.Session(t.Context(), id(session)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("session %q: %v, want ErrNotFound", session, err)
	}
}

func TestTouchNeverGoesBack(t *testing.T) {
	db, _ := open(t)
	signIn(t, db, ada("ada"), "one", nil, noon)
	for _, at := range []time.Time{noon.Add(time.Hour), noon.Add(time.Minute)} {
		if err := db.Touch(t.Context(), id("one"), at); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.Session(t.Context(), id("one"))
	if err != nil {
		t.Fatal(err)
	}
	if want := noon.Add(time.Hour); !got.SeenAt.Equal(want) {
		t.Errorf("seen at %v, want %v", got.SeenAt, want)
	}
}

func TestSweep(t *testing.T) {
	db, _ := open(t)
	for i := range 1100 {
		someone := ada("ada")
		someone.UserID = strconv.Itoa(i)
		signIn(t, db, someone, fmt.Sprintf("old %d", i), nil, noon)
	}
	signIn(t, db, ada("ada"), "idle", nil, noon.Add(10*time.Hour))
	signIn(t, db, ada("ada"), "fresh", nil, noon.Add(10*time.Hour))
	if err := db.Touch(t.Context(), id("fresh"), noon.Add(20*time.Hour)); err != nil {
		t.Fatal(err)
	}

	got, err := db.Sweep(t.Context(), noon.Add(time.Hour), noon.Add(15*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(1101); got != want {
		t.Errorf("swept %d sessions, want %d", got, want)
	}
	gone(t, db, "old 0")
	gone(t, db, "idle")
	if _, err := db.Session(t.Context(), id("fresh")); err != nil {
		t.Errorf("the fresh session: %v", err)
	}
}

func TestEndSessionsOf(t *testing.T) {
	db, _ := open(t)
	someone := ada("eve")
	someone.UserID = "43"
	elsewhere := ada("ada")
	elsewhere.Provider = "http://localhost:8081"
	signIn(t, db, ada("ada"), "one", nil, noon)
	signIn(t, db, ada("ada"), "two", nil, noon)
	signIn(t, db, someone, "other", nil, noon)
	signIn(t, db, elsewhere, "elsewhere", nil, noon)

	for _, test := range []struct {
		userID string
		want   int64
		err    error
	}{{"42", 2, nil}, {"42", 0, nil}, {"44", 0, store.ErrNotFound}, {"ada", 0, store.ErrNotFound}} {
		if got, err := db.EndSessionsOf(t.Context(), "https://api.x.com", test.userID); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("of %q: %d, %v, want %d, %v", test.userID, got, err, test.want, test.err)
		}
	}
	gone(t, db, "one")
	gone(t, db, "two")
	read(t, db, "other")
	read(t, db, "elsewhere")

	if got, err := db.EndAllSessions(t.Context()); got != 2 || err != nil {
		t.Errorf("of everybody: %d, %v, want 2", got, err)
	}
	gone(t, db, "other")
	gone(t, db, "elsewhere")
}

func TestVersions(t *testing.T) {
	url := testdb.New(t)
	if testdb.Postgres() {
		if current, newest, err := store.Versions(t.Context(), url); current != 0 || newest == 0 || err != nil {
			t.Errorf("of an empty database: %d of %d, %v, want 0", current, newest, err)
		}
	} else if _, _, err := store.Versions(t.Context(), url); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("of no file: %v, want ErrNotFound", err)
	}
	reopen(t, url)
	if current, newest, err := store.Versions(t.Context(), url); current != newest || newest == 0 || err != nil {
		t.Errorf("of one in use: %d of %d, %v", current, newest, err)
	}
	if _, _, err := store.Versions(t.Context(), "postgres://perch:hunter2@127.0.0.1:1/perch"); err == nil || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("of one that does not answer: %v, want one line without a password", err)
	}
}

func TestADatabaseThatIsGoneIsUnavailable(t *testing.T) {
	db, url := open(t)
	signIn(t, db, ada("ada"), "one", nil, noon)
	testdb.Exec(t, url, `DROP TABLE sessions`)
	_, readErr := db.Session(t.Context(), id("one"))
	_, signInErr := db.SignIn(t.Context(), ada("ada"), id("two"), nil, "browser", noon)
	_, sweepErr := db.Sweep(t.Context(), noon, noon)
	for call, err := range map[string]error{
		"Session": readErr, "SignIn": signInErr, "Sweep": sweepErr,
		"Touch":      db.Touch(t.Context(), id("one"), noon),
		"EndSession": db.EndSession(t.Context(), id("one")),
		"Ping":       db.Ping(t.Context()),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", call, err)
		}
	}
}

func TestAVisitorWhoLeftIsNoFaultOfTheDatabase(t *testing.T) {
	db, _ := open(t)
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := db.Session(left, id("one")); !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want context.Canceled alone", err)
	}
}

func TestWhatIsAcknowledgedIsThereAfterReopening(t *testing.T) {
	db, url := open(t)
	signIn(t, db, ada("ada"), "stays", nil, noon)
	signIn(t, db, ada("ada"), "ends", nil, noon)
	if err := db.EndSession(t.Context(), id("ends")); err != nil {
		t.Fatal(err)
	}
	db.Close()

	db = reopen(t, url)
	if _, err := db.Session(t.Context(), id("stays")); err != nil {
		t.Errorf("the session: %v", err)
	}
	gone(t, db, "ends")
}

func TestCountSessions(t *testing.T) {
	db, _ := open(t)
	bob := store.Account{Provider: "https://api.x.com", UserID: "43", ScreenName: "bob", Token: []byte("sealed")}
	for _, step := range []struct {
		story string
		does  func()
		want  int64
	}{
		{"nobody", func() {}, 0},
		{"one", func() { signIn(t, db, ada("ada"), "one", nil, noon) }, 1},
		{"the same person, elsewhere", func() { signIn(t, db, ada("ada"), "two", nil, noon) }, 2},
		{"somebody else, long ago", func() { signIn(t, db, bob, "three", nil, noon.Add(-10_000*time.Hour)) }, 3},
		{"one has left", func() { db.EndSession(t.Context(), id("one")) }, 2},
	} {
		step.does()
		if got, err := db.CountSessions(t.Context()); got != step.want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", step.story, got, err, step.want)
		}
	}
	db.Close()
	if got, err := db.CountSessions(t.Context()); got != 0 || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("after it was closed: got %d, %v, want ErrUnavailable", got, err)
	}
}
