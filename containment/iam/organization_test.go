package iam_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// A gate is an HTTP client that lets a request through for each value that it is sent, and says of each that it waits.
type gate struct {
	http.RoundTripper
	waits, open chan struct{}
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	g.waits <- struct{}{}
	select {
	case <-g.open:
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	return g.RoundTripper.RoundTrip(r)
}

// Who asks for an account that is being read waits for that answer, an error also; other accounts do not wait, and an error is not kept.
func TestOrganizationAtOnce(t *testing.T) {
	const second = "444455556666"
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.cloud.Organization = &awsfake.Organization{Management: "999900001111", Delegates: []string{home}, Parents: map[string]string{home: "r-ab12", second: "r-ab12"},
			Policies: []awsfake.SCP{{ID: "p-a", Document: scp(quarantined), On: []string{"r-ab12"}}}}
	})
	cfg := w.cloud.Config(responder, "eu-west-1")
	g := &gate{http.DefaultTransport, make(chan struct{}), make(chan struct{})}
	cfg.HTTPClient = &http.Client{Transport: g}
	o := &iam.Organizations{Config: cfg}
	calls := func() (n int) {
		for _, c := range w.cloud.Calls() {
			if c.Operation == "DescribeOrganization" {
				n++
			}
		}
		return n
	}
	down := true
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "ListParents" && down {
				return awsfake.Fault{Error: &awsfake.Error{Code: "Broken", Message: "no", Status: 400}}
			}
			return awsfake.Fault{}
		}
	})
	ask := func(accounts ...string) (errs []error) {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for _, a := range accounts {
			wg.Go(func() {
				list, err := o.Policies(t.Context(), a)
				if err == nil && len(list) != 1 {
					t.Errorf("%d policies of %s", len(list), a)
				}
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		held, want := 0, 2 // the first request of each account, before either is let through
		for {
			select {
			case <-g.waits:
				if held++; held >= want {
					for ; held > 0; held-- {
						g.open <- struct{}{}
					}
					want = 1
				}
			case <-done:
				return errs
			}
		}
	}
	for _, err := range ask(home, home, home, second) {
		if err == nil {
			t.Error("no error")
		}
	}
	w.cloud.Edit(func() { down = false })
	w.cloud.Reset()
	for _, err := range ask(home, second, second) {
		if err != nil {
			t.Error(err)
		}
	}
	if n := calls(); n != 2 {
		t.Errorf("%d readings of 2 accounts", n)
	}
	if _, err := o.Policies(t.Context(), home); err != nil || calls() != 2 {
		t.Errorf("%v, %d readings", err, calls())
	}
}

// Who gives up takes nobody along: who waited for that answer reads on.
func TestOrganizationAbandoned(t *testing.T) {
	w := newWorld(t)
	cfg := w.cloud.Config(responder, "eu-west-1")
	g := &gate{http.DefaultTransport, make(chan struct{}), make(chan struct{})}
	cfg.HTTPClient = &http.Client{Transport: g}
	o := &iam.Organizations{Config: cfg}
	ctx, leave := context.WithCancelCause(t.Context())
	left := errors.New("left")
	first, second, third := make(chan error), make(chan error), make(chan error)
	go func() { _, err := o.Policies(ctx, home); first <- err }()
	<-g.waits
	go func() { _, err := o.Policies(t.Context(), home); second <- err }()
	short, stop := context.WithCancelCause(t.Context())
	go func() { _, err := o.Policies(short, home); third <- err }()
	stop(left) // one who waits may leave, too
	if err := <-third; !errors.Is(err, left) {
		t.Error(err)
	}
	leave(left)
	if err := <-first; !errors.Is(err, left) {
		t.Error(err)
	}
	for {
		select {
		case <-g.waits:
			g.open <- struct{}{}
		case err := <-second:
			if !errors.Is(err, iam.ErrUnbound) { // the answer: there is no organisation
				t.Error(err)
			}
			return
		}
	}
}
