package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"perch/internal/store"
	"perch/internal/testdb"
)

var (
	picture = store.Avatar{Name: "4a5b", Type: "image/png", Content: []byte("\x89PNG the picture of ada")}
	another = store.Avatar{Name: "9c0d", Type: "image/webp", Content: []byte("RIFF another picture")}
)

func read(t testing.TB, db *store.Store, session string) store.Account {
	t.Helper()
	got, err := db.Session(t.Context(), id(session))
	if err != nil {
		t.Fatal(err)
	}
	return got.Account
}

// portrait reads the avatar of an account; the zero one when there is none.
func portrait(t testing.TB, db *store.Store, account int64) store.Avatar {
	t.Helper()
	got, err := db.Avatar(t.Context(), account)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return got
}

func TestSetProfile(t *testing.T) {
	db, _ := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account
	someone := ada("eve")
	someone.UserID = "43"
	other := signIn(t, db, someone, "other", nil, noon).Account
	if account.Name != "" || account.Avatar != "" || account.ProfileAt.Unix() != 0 {
		t.Errorf("a new account has a profile: %+v", account)
	}

	for i, step := range []struct {
		screenName, name string
		avatar, want     store.Avatar
	}{
		{"ada", "Ada", store.Avatar{}, store.Avatar{}},
		{"ada", "Ada", picture, picture},
		{"countess", `"); DROP TABLE accounts; -- ` + "\U0001f426 بلبل", another, another},
		{"ada", "", store.Avatar{}, another}, // no picture leaves the one that is there
	} {
		at := noon.Add(time.Duration(i) * time.Hour)
		if err := db.SetProfile(t.Context(), account.ID, step.screenName, step.name, step.avatar, at); err != nil {
			t.Fatal(err)
		}
		got := read(t, db, "one")
		if got.ScreenName != step.screenName || got.Name != step.name || got.Avatar != step.want.Name || !got.ProfileAt.Equal(at) {
			t.Errorf("step %d: the account is %+v", i, got)
		}
		if got := portrait(t, db, account.ID); fmt.Sprint(got) != fmt.Sprint(step.want) {
			t.Errorf("step %d: the avatar is %v, want %v", i, got, step.want)
		}
		if got.CreatedAt != account.CreatedAt || !bytes.Equal(got.Token, account.Token) {
			t.Errorf("step %d: more than the profile has changed: %+v", i, got)
		}
	}
	if got := read(t, db, "other"); fmt.Sprint(got) != fmt.Sprint(other) {
		t.Errorf("another account has changed: %+v", got)
	}

	// The profile stays when the person signs in again, also in vain.
	again := signIn(t, db, ada("ada"), "two", nil, noon.Add(5*time.Hour)).Account
	if again.Avatar != another.Name || !again.ProfileAt.Equal(noon.Add(3*time.Hour)) {
		t.Errorf("after another sign-in the account is %+v", again)
	}
	if err := db.SetProfileAt(t.Context(), account.ID, noon.Add(6*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, db, "two"); !got.ProfileAt.Equal(noon.Add(6*time.Hour)) || got.Avatar != another.Name {
		t.Errorf("after asking in vain the account is %+v", got)
	}
}

// What comes late, after the account was deleted, brings nothing back.
func TestAProfileThatComesLateBringsNothingBack(t *testing.T) {
	db, url := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account
	if err := db.DeleteAccount(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	for call, err := range map[string]error{
		"SetProfile":     db.SetProfile(t.Context(), account.ID, "ada", "Ada Lovelace", picture, noon),
		"SetProfileAt":   db.SetProfileAt(t.Context(), account.ID, noon),
		"SetToken":       db.SetToken(t.Context(), account.ID, account.Token, []byte("late token")),
		"EndSessionsBut": db.EndSessionsBut(t.Context(), account.ID, id("one")),
		"Disconnect":     db.Disconnect(t.Context(), account.ID),
		"DeleteAccount":  db.DeleteAccount(t.Context(), account.ID),
	} {
		if err != nil {
			t.Errorf("%s: %v, want it to be fine", call, err)
		}
	}
	gone(t, db, "one")
	if got := portrait(t, db, account.ID); got.Name != "" {
		t.Errorf("the avatar is back: %v", got)
	}
	nowhere(t, url, "Ada Lovelace", "late token", string(picture.Content))
}

func TestSetTokenOnlyIfItStillIsTheOldOne(t *testing.T) {
	db, _ := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account
	for _, step := range []struct{ old, new, want string }{
		{"sealed ada", "sealed anew", "sealed anew"},
		{"sealed ada", "sealed late", "sealed anew"}, // somebody else was faster
		{"", "sealed for nothing", "sealed anew"},
	} {
		if err := db.SetToken(t.Context(), account.ID, []byte(step.old), []byte(step.new)); err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, db, "one").Token); got != step.want {
			t.Errorf("from %q to %q: the token is %q, want %q", step.old, step.new, got, step.want)
		}
	}
}

// names returns the account's sessions as tests call them.
func names(t testing.TB, db *store.Store, account int64) (all []string) {
	t.Helper()
	sessions, err := db.Sessions(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		all = append(all, string(bytes.TrimSpace(s.ID)))
	}
	return all
}

func TestSessionsAreTheAccountsOwn(t *testing.T) {
	db, _ := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account
	signIn(t, db, ada("ada"), "two", nil, noon.Add(time.Minute))
	signIn(t, db, ada("ada"), "three", nil, noon.Add(time.Hour))
	someone := ada("eve")
	someone.UserID = "43"
	other := signIn(t, db, someone, "other", nil, noon).Account
	if err := db.Touch(t.Context(), id("one"), noon.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}

	if got, want := names(t, db, account.ID), []string{"three", "two", "one"}; !slices.Equal(got, want) {
		t.Errorf("sessions are %q, want %q: the newest first", got, want)
	}
	all, err := db.Sessions(t.Context(), account.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := all[2]; got.UserAgent != "browser" || !got.CreatedAt.Equal(noon) || !got.SeenAt.Equal(noon.Add(2*time.Hour)) || len(got.Account.Token) != 0 {
		t.Errorf("the oldest is %+v", got)
	}

	if err := db.EndSessionsBut(t.Context(), account.ID, id("two")); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, db, account.ID), []string{"two"}; !slices.Equal(got, want) {
		t.Errorf("after ending the others, sessions are %q, want %q", got, want)
	}
	if err := db.EndSessionsBut(t.Context(), account.ID, id("other")); err != nil { // which is no session of this account
		t.Fatal(err)
	}
	if got := names(t, db, account.ID); len(got) != 0 {
		t.Errorf("after keeping another account's, sessions are %q, want none", got)
	}
	if got, want := names(t, db, other.ID), []string{"other"}; !slices.Equal(got, want) {
		t.Errorf("the other account's sessions are %q, want %q", got, want)
	}
	for _, nothing := range [][]byte{nil, {}} {
		signIn(t, db, ada("ada"), "four", nil, noon)
		if err := db.EndSessionsBut(t.Context(), account.ID, nothing); err != nil {
			t.Fatal(err)
		}
		if got := names(t, db, account.ID); len(got) != 0 {
			t.Errorf("after keeping nothing, sessions are %q, want none", got)
		}
	}
}

func TestTwentySessionsAtTheMost(t *testing.T) {
	db, _ := open(t)
	someone := ada("eve")
	someone.UserID = "43"
	other := signIn(t, db, someone, "other", nil, noon.Add(-time.Hour)).Account
	var account store.Account
	for i := range 25 {
		account = signIn(t, db, ada("ada"), fmt.Sprint("no ", i), nil, noon.Add(time.Duration(i)*time.Second)).Account
	}
	got := names(t, db, account.ID)
	if len(got) != 20 || got[0] != "no 24" || got[19] != "no 5" {
		t.Errorf("%d sessions, from %q to %q, want 20, from 24 to 5", len(got), got[0], got[len(got)-1])
	}
	// One that takes the place of another costs nobody's.
	signIn(t, db, ada("ada"), "again", id("no 24"), noon.Add(time.Hour))
	if got := names(t, db, account.ID); len(got) != 20 || got[0] != "again" || got[19] != "no 5" {
		t.Errorf("after signing in again: %d sessions, from %q to %q", len(got), got[0], got[len(got)-1])
	}
	// However old the clock says it is, the one that was just made stays.
	signIn(t, db, ada("ada"), "by a slow clock", nil, noon.Add(-time.Hour))
	if got := names(t, db, account.ID); len(got) != 20 || got[19] != "by a slow clock" {
		t.Errorf("by a slow clock: %d sessions, the last %q", len(got), got[len(got)-1])
	}
	if got := names(t, db, other.ID); len(got) != 1 {
		t.Errorf("another account has %d sessions, want 1", len(got))
	}
}

func TestDisconnect(t *testing.T) {
	db, url := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account
	signIn(t, db, ada("ada"), "two", nil, noon)
	someone := ada("eve")
	someone.UserID = "43"
	signIn(t, db, someone, "other", nil, noon)
	if err := db.SetProfile(t.Context(), account.ID, "ada", "Ada", picture, noon); err != nil {
		t.Fatal(err)
	}

	if err := db.Disconnect(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	gone(t, db, "one")
	gone(t, db, "two")
	if got := read(t, db, "other"); string(got.Token) != "sealed eve" {
		t.Errorf("the other account's token is %q", got.Token)
	}
	testdb.Exec(t, url, `UPDATE sessions SET account_id = (SELECT id FROM accounts WHERE user_id = '42')`) // a look at it
	if got := read(t, db, "other"); len(got.Token) != 0 || got.Name != "Ada" || got.Avatar != picture.Name {
		t.Errorf("the account is %+v, want it without its token, and else as it was", got)
	}
	testdb.Exec(t, url, `DELETE FROM sessions`)

	again := signIn(t, db, ada("ada"), "three", nil, noon).Account
	if again.ID != account.ID || again.Name != "Ada" || string(again.Token) != "sealed ada" {
		t.Errorf("who comes back is %+v", again)
	}
}

// Nothing of a deleted account is left, in the tables or between them.
func TestDeleteAccount(t *testing.T) {
	db, url := open(t)
	const screenName, name = "ada_the_countess", "Augusta Ada King-Noel"
	who := ada(screenName)
	who.Token = []byte("the sealed token of ada, as it was kept")
	face := store.Avatar{Name: "00112233445566778899aabbccddeeff", Type: "image/png", Content: bytes.Repeat([]byte("the face of ada "), 5000)}
	account := signIn(t, db, who, "one", nil, noon).Account
	who.Token = []byte("the sealed token of ada, as it was renewed")
	signIn(t, db, who, "two", nil, noon)
	for _, a := range []store.Avatar{{Name: "ffeeddccbbaa", Type: "image/png", Content: bytes.Repeat([]byte("the former face "), 3000)}, face} {
		if err := db.SetProfile(t.Context(), account.ID, screenName, name, a, noon); err != nil {
			t.Fatal(err)
		}
	}
	someone := ada("eve_who_stays")
	someone.UserID = "43"
	other := signIn(t, db, someone, "other", nil, noon).Account
	if err := db.SetProfile(t.Context(), other.ID, "eve_who_stays", "Eve", another, noon); err != nil {
		t.Fatal(err)
	}
	if !testdb.Holds(t, url, screenName) || !testdb.Holds(t, url, "the face of ada") {
		t.Fatal("the test does not see what is there")
	}

	if err := db.DeleteAccount(t.Context(), account.ID); err != nil {
		t.Fatal(err)
	}
	gone(t, db, "one")
	gone(t, db, "two")
	if got := portrait(t, db, account.ID); got.Name != "" {
		t.Errorf("the avatar is still there: %s", got.Name)
	}
	nowhere(t, url, screenName, name, "the sealed token of ada", "the face of ada", "the former face", face.Name, "ffeeddccbbaa", string(id("one")), string(id("two")))
	if got := read(t, db, "other"); got.Name != "Eve" || portrait(t, db, other.ID).Type != another.Type {
		t.Errorf("another account is %+v", got)
	}
	if !testdb.Holds(t, url, "eve_who_stays") {
		t.Error("another account is not in the files")
	}
	db.Close()
	nowhere(t, url, screenName, name, "the sealed token of ada", "the face of ada")
}

// nowhere fails when a text stands in the database.
func nowhere(t testing.TB, url string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if testdb.Holds(t, url, text) {
			t.Errorf("%.40q is still in the database", text)
		}
	}
}

// What an earlier Perch has stored stays, and is as good as new.
func TestADatabaseOfAnEarlierPerchKeepsWhatItHolds(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	// For each version of the tables, how it held @ada and her session.
	versions := []struct{ account, session string }{
		{`INSERT INTO accounts VALUES (7, 'https://api.x.com', '42', 'ada', $1, $2, $2)`, `INSERT INTO sessions VALUES ($1, 7, $2, $2)`},
		{`INSERT INTO accounts VALUES (7, 'https://api.x.com', '42', 'ada', $1, $2, $2, '', '', 0)`, `INSERT INTO sessions VALUES ($1, 7, $2, $2, '')`},
	}
	if len(versions) != len(files) {
		t.Fatalf("there are %d migrations, and the data of %d versions", len(files), len(versions))
	}
	for i, version := range versions {
		t.Run(filepath.Base(files[i]), func(t *testing.T) {
			url := testdb.New(t)
			hand := testdb.Open(t, url)
			dialect := map[bool]goose.Dialect{false: goose.DialectSQLite3, true: goose.DialectPostgres}[testdb.Postgres()]
			earlier, err := goose.NewProvider(dialect, hand, os.DirFS("migrations"), goose.WithSlog(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := earlier.UpTo(t.Context(), int64(i+1)); err != nil {
				t.Fatal(err)
			}
			_, accountErr := hand.Exec(version.account, []byte("sealed ada"), noon.Unix())
			_, sessionErr := hand.Exec(version.session, id("one"), noon.Unix())
			if err := errors.Join(accountErr, sessionErr); err != nil {
				t.Fatal(err)
			}
			asGoodAsNew(t, reopen(t, url))
		})
	}
}

func asGoodAsNew(t *testing.T, db *store.Store) {
	t.Helper()
	got, err := db.Session(t.Context(), id("one"))
	if err != nil {
		t.Fatal(err)
	}
	want := store.Account{ID: 7, Provider: "https://api.x.com", UserID: "42", ScreenName: "ada", Token: []byte("sealed ada"),
		CreatedAt: noon, SignedInAt: noon, ProfileAt: time.Unix(0, 0)}
	if fmt.Sprint(got.Account) != fmt.Sprint(want) || got.UserAgent != "" || !got.CreatedAt.Equal(noon) || !got.SeenAt.Equal(noon) {
		t.Errorf("the session is %+v, want one of %+v", got, want)
	}
	if err := db.SetProfile(t.Context(), 7, "ada", "Ada", picture, noon); err != nil {
		t.Fatal(err)
	}
	if again := signIn(t, db, ada("countess"), "two", nil, noon.Add(time.Hour)).Account; again.ID != 7 || again.Avatar != picture.Name || !again.CreatedAt.Equal(noon) {
		t.Errorf("signing in again finds %+v", again)
	}
	if got, want := names(t, db, 7), []string{"two", "one"}; !slices.Equal(got, want) {
		t.Errorf("sessions are %q, want %q", got, want)
	}
	if err := db.DeleteAccount(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	gone(t, db, "one")
}

func TestAccountsOfADatabaseThatIsGoneAreUnavailable(t *testing.T) {
	db, url := open(t)
	account := signIn(t, db, ada("ada"), "one", nil, noon).Account.ID
	testdb.Exec(t, url, `DROP TABLE avatars; DROP TABLE sessions; ALTER TABLE accounts RENAME TO others`)
	_, avatarErr := db.Avatar(t.Context(), account)
	_, sessionsErr := db.Sessions(t.Context(), account)
	for call, err := range map[string]error{
		"Avatar": avatarErr, "Sessions": sessionsErr,
		"SetProfile":     db.SetProfile(t.Context(), account, "ada", "Ada", picture, noon),
		"SetProfileAt":   db.SetProfileAt(t.Context(), account, noon),
		"SetToken":       db.SetToken(t.Context(), account, nil, []byte("new")),
		"EndSessionsBut": db.EndSessionsBut(t.Context(), account, nil),
		"Disconnect":     db.Disconnect(t.Context(), account),
		"DeleteAccount":  db.DeleteAccount(t.Context(), account),
	} {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", call, err)
		}
	}
}
