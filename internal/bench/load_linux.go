package main

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A round is what one round of load saw.
type round struct {
	perSecond float64
	p50, p99  time.Duration
	busy      float64 // the part of the time in which the load did not wait for an answer: near 1 it is the load that is measured
}

// load asks a server for a while, on the core that is the load's, over
// connections that stay open: as soon as one has its answer, it sends the next
// of the requests. An answer with another status than 200, with a body of other
// than so many bytes, or that does not come, is an error. It is one thread for
// all of them (epoll), for a client of net/http would be slower than the servers
// it measures.
//
// A load that never sleeps asks again and again whether an answer is there: to
// wake a sleeper on another core takes the server longer than to write the
// answer, and the slower of two servers would pay for that more often. One that
// sleeps leaves its core to a database that has none of its own.
func load(addr string, requests [][]byte, body, connections int, length time.Duration, sleeps bool) (seen round, err error) {
	_, core, err := cores()
	if err != nil {
		return round{}, err
	}
	err = on(core, func() (err error) {
		seen, err = loadHere(addr, requests, body, connections, length, sleeps)
		return err
	})
	return seen, err
}

// patience is how long the answers under way are waited for when time is up.
const patience = 10 * time.Second

// loadHere is load, on the core that the thread is bound to.
func loadHere(addr string, requests [][]byte, body, connections int, length time.Duration, sleeps bool) (round, error) {
	wait := map[bool]int{true: 1000}[sleeps] // milliseconds
	poll, err := unix.EpollCreate1(0)
	if err != nil {
		return round{}, err
	}
	defer unix.Close(poll)
	byFD := map[int32]*connection{}
	next := 0
	request := func() []byte {
		next++
		return requests[next%len(requests)]
	}
	for range connections {
		c, err := dial(addr)
		if err != nil {
			return round{}, err
		}
		defer unix.Close(c.fd)
		byFD[int32(c.fd)] = c
		if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, c.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.fd)}); err != nil {
			return round{}, err
		}
	}

	took := make([]time.Duration, 0, 1<<17)
	events := make([]unix.EpollEvent, connections)
	began, idle := time.Now(), time.Duration(0)
	var answers int         // by the end,
	var ended time.Duration // when no more is asked
	for _, c := range byFD {
		if err := c.send(request()); err != nil {
			return round{}, err
		}
	}
	for underWay := connections; underWay > 0; {
		before := time.Now()
		n, err := unix.EpollWait(poll, events, wait)
		if err != nil && err != unix.EINTR {
			return round{}, err
		}
		switch now := time.Since(began); {
		case ended == 0:
			idle += time.Since(before)
			if now >= length {
				answers, ended = len(took), now
			}
		case now > ended+patience:
			return round{}, fmt.Errorf("%d answers of %s did not come", underWay, addr)
		}
		for _, event := range events[:max(n, 0)] {
			c := byFD[event.Fd]
			whole, err := c.receive(body)
			if err != nil {
				return round{}, err
			}
			if !whole {
				continue
			}
			took = append(took, time.Since(c.sent))
			if ended > 0 {
				underWay--
			} else if err := c.send(request()); err != nil {
				return round{}, err
			}
		}
	}
	if answers == 0 {
		return round{}, fmt.Errorf("no answer of %s in time", addr)
	}
	busy := 1 - idle.Seconds()/ended.Seconds()
	slices.Sort(took)
	return round{float64(answers) / ended.Seconds(), took[len(took)/2], took[len(took)*99/100], busy}, nil
}

// A connection has one request under way.
type connection struct {
	fd       int
	sent     time.Time
	received []byte // of the answer, so far
	buffer   [16 << 10]byte
}

func dial(addr string) (*connection, error) {
	to, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	return &connection{fd: fd}, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

func (c *connection) send(request []byte) error {
	c.received, c.sent = c.buffer[:0], time.Now()
	n, err := unix.Write(c.fd, request)
	if err == nil && n < len(request) {
		err = fmt.Errorf("sent %d bytes of %d", n, len(request))
	}
	return err
}

// receive reads what has come, and tells whether that is the whole answer, whose
// body has to have so many bytes.
func (c *connection) receive(want int) (whole bool, err error) {
	n, err := unix.Read(c.fd, c.buffer[len(c.received):])
	if err != nil {
		return false, err
	}
	if n == 0 {
		return false, fmt.Errorf("the server hung up, or its answer is longer than %d bytes", len(c.buffer))
	}
	c.received = c.buffer[:len(c.received)+n]
	head, body, ok := bytes.Cut(c.received, []byte("\r\n\r\n"))
	if !ok {
		return false, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return false, fmt.Errorf("an answer that is not 200: %.300q", c.received)
	}
	length, err := contentLength(head)
	if err == nil && length != want {
		err = fmt.Errorf("an answer of %d bytes and not %d: %.300q", length, want, c.received)
	}
	return len(body) >= length, err
}

func contentLength(head []byte) (int, error) {
	_, value, _ := bytes.Cut(head, []byte("\r\nContent-Length: "))
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return math.MaxInt, fmt.Errorf("an answer without a length: %.300q", head)
	}
	return n, nil
}
