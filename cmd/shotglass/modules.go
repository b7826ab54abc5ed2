package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// readModules opens the modules that the user named, and the repositories after them.
func readModules(paths, pins []string, repos *repositories) (kernelmodules.Store, error) {
	for _, p := range pins {
		if b, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(p), "sha256:")); err != nil || len(b) != 32 {
			return nil, usagef("--module-sha256 %q is not a SHA-256 in hexadecimal", p).fix("sha256sum lime.ko prints it")
		}
	}
	if len(paths) == 0 && len(repos.Stores) == 0 {
		return nil, nil // a pin may be that of a module on the target
	}
	var all stores
	for _, p := range paths {
		s, err := kernelmodules.NewPath(p, kernelmodules.PathOptions{Pins: pins})
		if err != nil {
			return nil, &usageError{Msg: fmt.Sprintf("--module: %v", err), Fix: "build LiME against the headers of the target's kernel on a like machine, and name lime.ko or a folder of modules"}
		}
		all = append(all, s)
	}
	for _, r := range repos.Stores {
		all = append(all, pinnedStore{r, pins})
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// stores asks several stores in turn.
type stores []kernelmodules.Store

var _ kernelmodules.Store = stores(nil)

// Find returns the first module that fits and that somebody vouches for, else the first that
// fits, else all reasons why there is none.
func (s stores) Find(ctx context.Context, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	var errs []error
	var unverified *kernelmodules.Module
	for _, one := range s {
		m, err := one.Find(ctx, k)
		switch {
		case err != nil:
			errs = append(errs, err)
		case m.Verified():
			return m, nil
		case unverified == nil:
			unverified = m
		}
	}
	if unverified != nil {
		return unverified, nil
	}
	return nil, errors.Join(errs...)
}

// A pinnedStore is a repository in which also modules that the user pinned are verified.
type pinnedStore struct {
	kernelmodules.Store
	pins []string
}

// Find finds what the repository has.
func (s pinnedStore) Find(ctx context.Context, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	m, err := s.Store.Find(ctx, k)
	if err == nil && !m.Verified() && slices.ContainsFunc(s.pins, func(p string) bool {
		p = strings.TrimPrefix(strings.ToLower(p), "sha256:")
		return p == m.SHA256 || m.Repository != nil && p == m.Repository.Checksum
	}) {
		m.Signature = kernelmodules.Pinned
	}
	return m, err
}

func (s stores) String() string {
	var names []string
	for _, one := range s {
		names = append(names, one.String())
	}
	return strings.Join(names, ", ")
}
