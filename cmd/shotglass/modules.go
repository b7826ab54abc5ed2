package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// readModules opens the modules that the user named.
func readModules(paths, pins []string) (kernelmodules.Store, error) {
	for _, p := range pins {
		if b, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(p), "sha256:")); err != nil || len(b) != 32 {
			return nil, usagef("--module-sha256 %q is not a SHA-256 in hexadecimal", p).fix("sha256sum lime.ko prints it")
		}
	}
	if len(paths) == 0 {
		if len(pins) > 0 {
			return nil, usagef("--module-sha256 without --module")
		}
		return nil, nil
	}
	var all stores
	for _, p := range paths {
		s, err := kernelmodules.NewPath(p, kernelmodules.PathOptions{Pins: pins})
		if err != nil {
			return nil, &usageError{Msg: fmt.Sprintf("--module: %v", err), Fix: "build LiME against the headers of the target's kernel on a like machine, and name lime.ko or a folder of modules"}
		}
		all = append(all, s)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// stores asks several stores in turn.
type stores []kernelmodules.Store

var _ kernelmodules.Store = stores(nil)

// Find returns the first module that fits, or all reasons why there is none.
func (s stores) Find(ctx context.Context, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	var errs []error
	for _, one := range s {
		m, err := one.Find(ctx, k)
		if err == nil {
			return m, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (s stores) String() string {
	var names []string
	for _, one := range s {
		names = append(names, one.String())
	}
	return strings.Join(names, ", ")
}
