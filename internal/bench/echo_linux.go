package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"

	"github.com/labstack/echo/v4"
)

// A page is an answer of Perch's, for the bare server to give as well.
type page struct {
	Path   string
	Header http.Header
	Body   []byte
}

// allOfIt stands before the path of a page that is to have all of its header.
const allOfIt = "/whole"

// bare is the least that Echo can do: it reads pages from its input, says where
// it listens, and writes them to whoever asks; the body, and of the header what
// the body needs, or all of it.
func bare(ctx context.Context, _ []string) error {
	var pages []page
	if err := json.NewDecoder(os.Stdin).Decode(&pages); err != nil {
		return err
	}
	e := echo.New()
	for _, p := range pages {
		needed := http.Header{}
		for _, name := range []string{echo.HeaderContentType, echo.HeaderContentEncoding, echo.HeaderContentLength} {
			if values := p.Header[name]; values != nil {
				needed[name] = values
			}
		}
		for path, header := range map[string]http.Header{p.Path: needed, allOfIt + p.Path: p.Header} {
			e.GET(path, func(c echo.Context) error {
				maps.Copy(c.Response().Header(), header)
				c.Response().WriteHeader(http.StatusOK)
				_, err := c.Response().Write(p.Body)
				return err
			})
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: e}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}
