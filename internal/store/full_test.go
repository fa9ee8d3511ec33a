package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A full disk and one that may only be read, as SQLite reports them: what was
// there stays, and all goes on afterwards.
func TestADatabaseThatTakesNoMoreIsUnavailableUntilItDoes(t *testing.T) {
	for _, test := range []struct{ name, begin, end string }{
		{"full", `PRAGMA max_page_count = 1`, `PRAGMA max_page_count = 1000000`}, // no page more than there are
		{"read-only", `PRAGMA query_only = 1`, `PRAGMA query_only = 0`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "perch.db"))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			signIn := func(i int) error {
				who := Account{Provider: "https://api.x.com", UserID: fmt.Sprint(i), ScreenName: strings.Repeat("x", 2000), Token: []byte("sealed")}
				_, err := s.SignIn(t.Context(), who, []byte(fmt.Sprint("session ", i)), nil, "browser", time.Now())
				return err
			}
			if err := signIn(0); err != nil {
				t.Fatal(err)
			}

			if _, err := s.write.Exec(test.begin); err != nil {
				t.Fatal(err)
			}
			refused := 0
			for i := 1; refused == 0 && i < 1000; i++ {
				if err := signIn(i); errors.Is(err, ErrUnavailable) {
					refused = i
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if refused == 0 {
				t.Fatal("a thousand sign-ins fit in")
			}
			if _, err := s.Session(t.Context(), []byte("session 0")); err != nil {
				t.Errorf("what was there: %v", err)
			}
			if _, err := s.Session(t.Context(), []byte(fmt.Sprint("session ", refused))); !errors.Is(err, ErrNotFound) {
				t.Errorf("what was refused: %v, want ErrNotFound", err)
			}

			if _, err := s.write.Exec(test.end); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(signIn(refused), s.EndSession(t.Context(), []byte("session 0"))); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
