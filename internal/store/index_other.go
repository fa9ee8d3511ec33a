//go:build !unix

package store

import (
	"errors"
	"os"
)

// mapIndex is for systems where a file is mapped as on Unix. Elsewhere
// sessions are read anew each time.
func mapIndex(string) (*os.File, []byte, error) { return nil, nil, errors.ErrUnsupported }
