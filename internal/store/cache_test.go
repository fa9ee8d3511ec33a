package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two stores over one file change it in every way, at random. Whatever one of
// them knows by heart must be what stands in the file.
func TestTheCacheIsExact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perch.db")
	ours, theirs := openFile(t, path), openFile(t, path)
	seed := rand.Uint64()
	t.Logf("the seed is %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func() (*Store, []byte, int64) {
		s := ours
		if random.IntN(3) == 0 {
			s = theirs
		}
		id := fmt.Appendf(nil, "%-32d", random.IntN(40))
		found, _ := s.Session(t.Context(), id)
		return s, id, found.Account.ID
	}
	now := time.Unix(1_800_000_000, 0)
	known := 0
	for step := range 1000 {
		s, id, account := pick()
		now = now.Add(time.Second)
		var err error
		switch random.IntN(14) {
		case 0, 1, 2:
			_, replaced, _ := pick()
			who := Account{Provider: "https://api.x.com", UserID: fmt.Sprint(random.IntN(5)), ScreenName: fmt.Sprint("name_", step), Token: fmt.Append(nil, "token ", step)}
			if _, err = s.SignIn(t.Context(), who, id, replaced, "browser", now); errors.Is(err, ErrUnavailable) {
				err = nil // the id is taken
			}
		case 3:
			err = s.EndSession(t.Context(), id)
		case 4:
			err = s.Touch(t.Context(), id, now)
		case 5:
			err = s.SetProfile(t.Context(), account, fmt.Sprint("renamed_", step), "Name", Avatar{}, now)
		case 6:
			err = s.SetProfileAt(t.Context(), account, now)
		case 7:
			err = s.SetToken(t.Context(), account, fmt.Append(nil, "token ", step-1), []byte("another"))
		case 8:
			err = s.EndSessionsBut(t.Context(), account, id)
		case 9:
			if random.IntN(10) == 0 {
				err = errors.Join(s.DeleteAccount(t.Context(), account), s.Disconnect(t.Context(), account+1))
			}
		case 10:
			if random.IntN(20) == 0 {
				_, err = s.Sweep(t.Context(), now.Add(-time.Hour), now.Add(-time.Minute))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, id, _ := pick()
			if _, ok := ours.cache.get(id); ok {
				known++
			}
			got, gotErr := ours.Session(t.Context(), id)
			want, wantErr := uncached(t, ours).Session(t.Context(), id)
			if fmt.Sprint(got, gotErr) != fmt.Sprint(want, wantErr) {
				t.Fatalf("step %d: the session is %v, %v, want %v, %v", step, got, gotErr, want, wantErr)
			}
		}
	}
	if known < 200 {
		t.Errorf("only %d of 3000 sessions were known by heart: nothing was shown", known)
	}
}

func openFile(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if s.cache == nil {
		t.Fatal("there is no cache")
	}
	return s
}

// enter signs somebody in.
func enter(t testing.TB, s *Store, user string) Session {
	t.Helper()
	found, err := s.SignIn(t.Context(), Account{Provider: "x", UserID: user, Token: []byte{1}}, fmt.Appendf(nil, "%-32s", user), nil, "browser", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// uncached is the same store, which has to read.
func uncached(t testing.TB, s *Store) *Store {
	t.Helper()
	plain := *s
	plain.cache = nil
	return &plain
}

// Somebody is signed out, here or by another process, while many ask: from the
// moment it is acknowledged, nobody gets the session any more.
func TestAnEndIsSeenByEverybodyAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perch.db")
	ours, theirs := openFile(t, path), openFile(t, path)
	var ended atomic.Int64 // so many sessions
	stop := make(chan struct{})
	var asking sync.WaitGroup
	id := func(n int64) []byte { return fmt.Appendf(nil, "%-32d", n) }
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				over := ended.Load()
				if _, err := ours.Session(t.Context(), id(over)); over > 0 && !errors.Is(err, ErrNotFound) {
					t.Errorf("session %d has ended, and is found: %v", over, err)
					return
				}
				ours.Session(t.Context(), id(over+1))
			}
		})
	}
	for n := int64(1); n <= 60; n++ {
		if _, err := ours.SignIn(t.Context(), Account{Provider: "x", UserID: "1", Token: []byte{1}}, id(n), nil, "browser", time.Now()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := ours.Session(t.Context(), id(n)); err != nil {
				t.Fatal(err)
			}
		}
		s := ours
		if n%2 == 0 {
			s = theirs
		}
		if err := s.EndSession(t.Context(), id(n)); err != nil {
			t.Fatal(err)
		}
		ended.Store(n)
	}
	close(stop)
	asking.Wait()
}

// Somebody else changes the file while we read it, or while we change it.
func TestSomebodyElseInBetween(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perch.db")
	ours, theirs := openFile(t, path), openFile(t, path)
	ends := func(s *Store, id []byte) {
		t.Helper()
		if err := s.EndSession(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	known := func(id []byte) bool { _, ok := ours.cache.get(id); return ok }
	ada, eve, bob := enter(t, ours, "ada"), enter(t, ours, "eve"), enter(t, ours, "bob")

	before := ours.cache.now()
	ours.cache.put(before, ada)
	ours.cache.put(before, eve)
	if !known(ada.ID) || !known(eve.ID) {
		t.Fatal("they are not known")
	}
	ends(theirs, ada.ID)
	ends(theirs, eve.ID) // as if it were ours
	ours.cache.changed(before, true, []*waiting{{what: &concern{session: eve.ID}}})
	if known(ada.ID) || known(eve.ID) {
		t.Error("a session that they ended while we ended another is known")
	}

	// Ours writes nothing, and theirs is the one that is counted.
	ours.cache.put(ours.cache.now(), bob)
	before = ours.cache.now()
	ends(theirs, bob.ID)
	ours.cache.changed(before, false, []*waiting{{what: &concern{session: eve.ID}}})
	if known(bob.ID) {
		t.Error("a session that they ended while we changed nothing is known")
	}

	bob = enter(t, ours, "bobby")
	read := ours.cache.now()
	ends(theirs, bob.ID)
	ours.cache.put(read, bob)
	if known(bob.ID) {
		t.Error("a session that ended while it was read is known")
	}
}

func TestAClosedCacheKnowsNothing(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "perch.db"))
	id := enter(t, s, "one").ID
	if _, err := s.Session(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := s.Session(t.Context(), id); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "perch.db"))
	for i := range maxCached + 10 {
		s.cache.put(s.cache.now(), Session{ID: fmt.Append(nil, i), Account: Account{ID: int64(i % 100)}})
	}
	if got := len(s.cache.rows); got != maxCached {
		t.Errorf("%d sessions are kept, want %d", got, maxCached)
	}
	of := 0
	for _, ids := range s.cache.of {
		of += len(ids)
	}
	if of != maxCached {
		t.Errorf("%d of them are some account's", of)
	}
	if _, ok := s.cache.get(fmt.Append(nil, maxCached+9)); !ok {
		t.Error("the last one is not kept")
	}
}

// A connection is closed when its statement is broken off. Even when that
// becomes of all of them, what another process ends is noticed, though it comes
// and goes in between.
func TestTheCacheOutlivesEveryConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "perch.db")
	ours := openFile(t, path)
	enter(t, ours, "ada")
	for _, db := range []*sql.DB{ours.read, ours.write} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := db.ExecContext(ctx, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT COUNT(*) FROM n`); err == nil {
			t.Fatal("a statement without end came to one")
		}
		if open := db.Stats().OpenConnections; open > 0 {
			t.Fatalf("%d connections are still open: nothing is shown", open)
		}
	}
	another := func(do func(*Store) error) {
		t.Helper()
		theirs, err := Open(t.Context(), "sqlite:"+path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(do(theirs), theirs.Close()); err != nil {
			t.Fatal(err)
		}
	}
	another(func(s *Store) error { return s.EndSession(t.Context(), []byte("nobody's")) })
	bob := enter(t, ours, "bob").ID
	if _, err := ours.Session(t.Context(), bob); err != nil {
		t.Fatal(err)
	}
	another(func(s *Store) error { _, err := s.EndAllSessions(t.Context()); return err })
	if _, err := ours.Session(t.Context(), bob); !errors.Is(err, ErrNotFound) {
		t.Errorf("what another process ended: %v, want ErrNotFound", err)
	}
}

// SQLite keeps the index beside the file that a link leads to. One that a
// crash left beside the link is nobody's.
func TestTheCacheFollowsALink(t *testing.T) {
	link, path := filepath.Join(t.TempDir(), "perch.db"), filepath.Join(t.TempDir(), "perch.db")
	if err := errors.Join(os.Symlink(path, link), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	theirs := openFile(t, path)
	index, err := os.ReadFile(path + "-shm")
	if err = errors.Join(err, os.WriteFile(link+"-shm", index, 0o600)); err != nil {
		t.Fatal(err)
	}
	ours := openFile(t, link)
	ada := enter(t, ours, "ada").ID
	if _, err := ours.Session(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if err := theirs.EndSession(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Session(t.Context(), ada); !errors.Is(err, ErrNotFound) {
		t.Errorf("what was ended beyond the link: %v, want ErrNotFound", err)
	}
}
