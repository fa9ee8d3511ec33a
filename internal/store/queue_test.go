package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestChangesAreMadeInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &apart{turns: make(chan struct{}, 1)}
		done, err := s.queue(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		for i := range 100 {
			go func() {
				done, err := s.queue(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer done()
				order = append(order, i)
			}()
			synctest.Wait() // until it stands in the queue
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.queue(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for ever ended with %v", err)
		}

		done()
		synctest.Wait()
		if len(order) != 100 || !slices.IsSorted(order) {
			t.Errorf("the order was %v", order)
		}
	})
}
