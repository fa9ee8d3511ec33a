package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"

	"github.com/labstack/echo/v4"
)

// A page is an answer of Perch's, for the bare server to give as well.
type page struct {
	Path           string
	Type, Encoding string
	Body           []byte
}

// bare is the least that Echo can do: it reads pages from its input, says where
// it listens, and writes them to whoever asks.
func bare(ctx context.Context, _ []string) error {
	var pages []page
	if err := json.NewDecoder(os.Stdin).Decode(&pages); err != nil {
		return err
	}
	e := echo.New()
	for _, p := range pages {
		length := strconv.Itoa(len(p.Body))
		e.GET(p.Path, func(c echo.Context) error {
			h := c.Response().Header()
			h.Set(echo.HeaderContentLength, length)
			if p.Encoding != "" {
				h.Set(echo.HeaderContentEncoding, p.Encoding)
			}
			return c.Blob(http.StatusOK, p.Type, p.Body)
		})
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
