package main

import (
	"errors"
	"net"
	"testing"
	"time"
)

func TestWhoIsInIsServedAndNobodyElse(t *testing.T) {
	listener, err := open(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	knock := func() (net.Conn, error) {
		return net.DialTimeout("tcp", listener.Addr().String(), 300*time.Millisecond)
	}
	in, err := knock() // and not accepted yet
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := letNobodyIn(listener); err != nil {
		t.Fatal(err)
	}
	var overlooked net.Error
	if late, err := knock(); !errors.As(err, &overlooked) || !overlooked.Timeout() {
		t.Errorf("who knocks later gets %v, error %v; want to be overlooked", late, err)
	}

	if _, err := in.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	heard := make([]byte, 1)
	if _, err := accepted.Read(heard); err != nil || string(heard) != "?" {
		t.Errorf("who was in is heard as %q, error %v", heard, err)
	}
	if _, err := accepted.Write([]byte("!")); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Read(heard); err != nil || string(heard) != "!" {
		t.Errorf("who was in hears %q, error %v", heard, err)
	}
}
