package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// While the file is held, changes gather; then they are made in one
// transaction. One that is refused, or that nobody waits for any more, leaves
// the others alone.
func TestChangesThatWaitAreMadeTogether(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "perch.db"))
	hold, err := s.write.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	before := s.cache.now().number()

	enter := func(ctx context.Context, id string) error {
		_, err := s.SignIn(ctx, Account{Provider: "x", UserID: id, Token: []byte{1}}, []byte(id), nil, "browser", time.Now())
		return err
	}
	left, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var came atomic.Int32
	errs := make([]error, 20)
	for i := range errs {
		ctx, id := t.Context(), fmt.Sprint("session ", i)
		switch i {
		case 7:
			id = "session 6" // once more, which is refused
		case 9:
			ctx = left
		}
		all.Go(func() {
			came.Add(1)
			errs[i] = enter(ctx, id)
		})
	}
	for came.Load() < int32(len(errs)) {
		time.Sleep(time.Millisecond)
	}
	leave()
	hold.Rollback()
	all.Wait()

	refused := 0
	for i, err := range errs {
		switch {
		case i == 6 || i == 7:
			if errors.Is(err, ErrUnavailable) {
				refused++
			}
		case i == 9:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who left gets %v", err)
			}
		case err != nil:
			t.Errorf("change %d: %v", i, err)
		}
	}
	if refused != 1 {
		t.Errorf("of two with one id %d were refused", refused)
	}
	for i := range errs {
		_, err := s.Session(t.Context(), fmt.Append(nil, "session ", i))
		if there := err == nil; there != (i != 7 && i != 9) {
			t.Errorf("session %d: %v", i, err)
		}
	}
	if took := s.cache.now().number() - before; took > 10 {
		t.Errorf("20 changes took %d transactions", took)
	}
}

// What comes after Close is refused, and Close waits for nobody.
func TestChangesOfAClosedStoreAreRefused(t *testing.T) {
	s := openFile(t, filepath.Join(t.TempDir(), "perch.db"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.EndSession(t.Context(), []byte("one")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
