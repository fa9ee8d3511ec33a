package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
)

// onlyRefused is the filter: does the page show this call?
func onlyRefused(r *http.Request) bool { return r.URL.Query().Get("only") == "refused" }

// showCalls lists what was asked, newest first. What comes later, the page hears from stream.
func (p *pages) showCalls(w http.ResponseWriter, r *http.Request) (string, error) {
	props := callsProps{URL: "http://" + r.Host, OnlyRefused: onlyRefused(r), Seen: p.event(0)}
	for _, c := range p.Calls() {
		props.Seen = p.event(c.ID)
		if !c.OK || !props.OnlyRefused {
			props.Calls = append(props.Calls, c)
		}
	}
	slices.Reverse(props.Calls)
	return "listed", draw(w, r, http.StatusOK, toolPolicy, callsPage(props))
}

// event is the ID of the event that tells of a call.
func (p *pages) event(id int64) string { return p.run + "-" + strconv.FormatInt(id, 10) }

// streamLife is how long a stream goes on: it ends by itself before a server's own limit cuts it off in the middle. The browser comes back within a second
// and says what it has seen, so nothing is lost or told twice.
const streamLife = 20 * time.Second

// stream tells of new calls as they come (HTML Living Standard §9.2, server-sent events): each event is what the page puts on top of its list. A browser that
// has not seen what was before gets it first.
func (p *pages) stream(w http.ResponseWriter, r *http.Request) (string, error) {
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	news := p.Watch(ctx)
	ending := p.ending(r)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	if err := flusher.Flush(); err != nil { // the page waits for a beginning
		return "", fmt.Errorf("streaming calls: %w", err)
	}

	seen, ok := p.seen(r)
	if !ok {
		tell(ctx, w, p.event(0), forgetCalls())
	}
	for {
		for _, c := range p.Calls() {
			if c.ID <= seen {
				continue
			}
			seen = c.ID
			if !c.OK || !onlyRefused(r) {
				tell(ctx, w, p.event(c.ID), callItem(c))
			}
		}
		if flusher.Flush() != nil {
			return "left", nil
		}
		select {
		case _, more := <-news: // a bell: what it rings for is in Calls
			if !more {
				return "ended", nil
			}
		case <-ending:
			return "ended", nil
		}
	}
}

// seen returns the last call that the browser knows of; false when that was in another run, and what its page shows is over.
func (p *pages) seen(r *http.Request) (int64, bool) {
	event := r.Header.Get("Last-Event-ID")
	if event == "" {
		event = r.URL.Query().Get("after")
	}
	run, number, _ := strings.Cut(event, "-")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || run != p.run {
		return 0, false
	}
	return id, true
}

// ending is closed when the server that r came to shuts down, which would wait for the stream otherwise.
func (p *pages) ending(r *http.Request) <-chan struct{} {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok {
		return nil // a test's
	}
	ending, known := p.endings.LoadOrStore(server, make(chan struct{}))
	if !known {
		server.RegisterOnShutdown(func() { close(ending.(chan struct{})) })
	}
	return ending.(chan struct{})
}

// tell writes an event: a fragment for htmx to swap in. A browser that left does not hear it.
func tell(ctx context.Context, w http.ResponseWriter, id string, fragment templ.Component) {
	var b bytes.Buffer
	_ = fragment.Render(ctx, &b) // a Buffer takes everything, and when ctx is done nobody listens
	fmt.Fprintf(w, "id: %s\ndata: %s\n\n", id, newlines.Replace(b.String()))
}

// newlines would end the line of an event.
var newlines = strings.NewReplacer("\r", "&#13;", "\n", "&#10;")
