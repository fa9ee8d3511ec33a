package store_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"perch/internal/store"
	"perch/internal/testdb"
)

// filled opens a database with sessions in it: a thousand made at noon, a
// thousand one second later, and so on.
func filled(b *testing.B, sessions int) *store.Store {
	b.Helper()
	db, url := open(b)
	if err := testdb.Fill(url, "https://api.x.com", sessions, thousandth); err != nil {
		b.Fatal(err)
	}
	return db
}

func thousandth(i int) time.Time { return noon.Add(time.Duration(i/1000) * time.Second) }

// signIns signs in people who were never here before.
func signIns(b *testing.B, db *store.Store) (signIn func()) {
	var last atomic.Uint64
	return func() {
		n := last.Add(1)
		who := ada("ada")
		who.UserID = fmt.Sprint("new ", n)
		if _, err := db.SignIn(b.Context(), who, binary.BigEndian.AppendUint64(make([]byte, 24), n), nil, "browser", noon); err != nil {
			b.Error(err)
		}
	}
}

func BenchmarkSignIn(b *testing.B) {
	b.Run("alone", func(b *testing.B) {
		db, _ := open(b)
		signIn := signIns(b, db)
		for b.Loop() {
			signIn()
		}
	})
	b.Run("32 at once", func(b *testing.B) {
		db, _ := open(b)
		signIn := signIns(b, db)
		var left atomic.Int64
		left.Store(int64(b.N))
		b.ResetTimer()
		var people sync.WaitGroup
		for range 32 {
			people.Go(func() {
				for left.Add(-1) >= 0 {
					signIn()
				}
			})
		}
		people.Wait()
	})
}

// BenchmarkSession is what every request costs that carries a cookie, each
// another one's.
func BenchmarkSession(b *testing.B) {
	for _, sessions := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint("of ", sessions), func(b *testing.B) {
			db := filled(b, sessions)
			for i := 0; b.Loop(); i++ {
				_, hash := testdb.Filled(i * 7919 % sessions)
				if _, err := db.Session(b.Context(), hash[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSweep ends a thousand sessions, which is what one statement does.
func BenchmarkSweep(b *testing.B) {
	db := filled(b, (b.N+10)*1000)
	b.ResetTimer()
	for i := range b.N {
		before := thousandth((i + 1) * 1000)
		if n, err := db.Sweep(b.Context(), before, before); n != 1000 || err != nil {
			b.Fatalf("swept %d, %v, want 1000", n, err)
		}
	}
}

func BenchmarkDeleteAccount(b *testing.B) {
	db := filled(b, b.N)
	b.ResetTimer()
	for i := range b.N {
		if err := db.DeleteAccount(b.Context(), int64(i)); err != nil {
			b.Fatal(err)
		}
	}
}
