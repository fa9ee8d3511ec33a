//go:build !linux

package main

// settle is for Linux alone.
func settle() {}
