package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
)

// endpoint is a sandbox that runs, in the words of `perch sandbox --print json`.
type endpoint struct {
	URL       string   `json:"url"`
	Key       string   `json:"consumer_key"`
	Secret    string   `json:"consumer_secret"`
	Callbacks []string `json:"callbacks"`

	stop func()
}

// start starts the perch in dir as a sandbox that lets robin in, until ctx is done.
func start(ctx context.Context, dir string, callbacks []string) (endpoint, error) {
	addr, err := freeAddr()
	if err != nil {
		return endpoint{}, err
	}
	args := []string{"sandbox", "--addr", addr, "--auto-approve", "robin", "--print", "json"}
	for _, callback := range callbacks {
		args = append(args, "--callback", callback)
	}
	command := exec.CommandContext(ctx, filepath.Join(dir, "perch"), args...)
	command.Dir = dir // where no .env is
	out, err := command.StdoutPipe()
	if err != nil {
		return endpoint{}, err
	}
	if err := command.Start(); err != nil {
		return endpoint{}, fmt.Errorf("starting the sandbox: %w", err)
	}
	stop := func() {
		command.Process.Kill()
		command.Wait()
	}
	reader := bufio.NewReader(out)
	line, err := reader.ReadBytes('\n')
	if err != nil {
		stop()
		return endpoint{}, fmt.Errorf("%s ended before it said where it listens: %w", command, err)
	}
	e := endpoint{stop: stop}
	if err := json.Unmarshal(line, &e); err != nil {
		stop()
		return endpoint{}, fmt.Errorf("reading what %s printed: %w", command, err)
	}
	go io.Copy(io.Discard, reader)
	return e, nil
}
