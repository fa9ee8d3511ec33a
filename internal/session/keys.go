package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// minKey is how many bytes a secret key has at least.
const minKey = 32

// KeyFile returns the secret key kept in the file at path, and makes one when
// there is no file, readable for its owner only. It is for development: in
// production the key comes from SECRET_KEY. It fails when the file is there
// but holds no key: to make a new one would sign everybody out unasked.
func KeyFile(path string) ([]byte, error) {
	key, err := ReadKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKeyFile(path)
	}
	return key, err
}

// ReadKeyFile is KeyFile, but makes nothing: without a file the error is
// fs.ErrNotExist.
func ReadKeyFile(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the secret key: %w", err)
	}
	if len(key) < minKey {
		return nil, fmt.Errorf("the key file %s is damaged: it holds less than %d bytes; put the right key there, or remove the file to get a new one (everybody will have to sign in again)", path, minKey)
	}
	return key, nil
}

// createKeyFile puts a whole key at path, or nothing: it is written beside,
// and gets its name when it is there.
func createKeyFile(path string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making a secret key: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".secret.key-") // 0600
	if err != nil {
		return nil, fmt.Errorf("making a secret key: %w", err)
	}
	defer os.Remove(file.Name())
	key := []byte(hex.EncodeToString(random(minKey)))
	_, err = file.Write(key)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("making a secret key: %w", err)
	}
	if err := os.Link(file.Name(), path); err != nil { // fails when there is one by now
		return nil, fmt.Errorf("making a secret key: %w", err)
	}
	return key, nil
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// derive makes the key for one purpose out of a secret key (RFC 5869), so
// that no key is used for two things.
func derive(secret []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "perch "+purpose, 32)
	if err != nil {
		panic(err) // only for a length that SHA-256 cannot give
	}
	return key
}

// A box keeps short secrets encrypted with AES-256-GCM. What it seals, only
// the same row can open. The newest key seals, every key opens.
type box []cipher.AEAD

func newBox(secrets [][]byte) box {
	var b box
	for _, secret := range secrets {
		block, err := aes.NewCipher(derive(secret, "access tokens"))
		if err != nil {
			panic(err) // only for a key of the wrong length
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			panic(err)
		}
		b = append(b, aead)
	}
	return b
}

func (b box) seal(plain []byte, row string) []byte {
	return b[0].Seal(nil, nil, plain, []byte(row))
}

// open also tells whether it was the newest key that fitted. The error is
// ErrSealed when none does, or the text is another row's.
func (b box) open(sealed []byte, row string) (plain []byte, newest bool, err error) {
	for i, aead := range b {
		if plain, err := aead.Open(nil, nil, sealed, []byte(row)); err == nil {
			return plain, i == 0, nil
		}
	}
	return nil, false, ErrSealed
}
