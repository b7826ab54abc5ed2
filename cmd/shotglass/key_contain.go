package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
)

// lock contains the owner, and what was made, and says what was not contained. code is how the trace ended.
func (o *keyRun) lock(ctx context.Context, c *console, f *keytrail.Found, code int) error {
	o.contain.became = func(t containedTarget) { o.became = append(o.became, t) }
	sum, err := o.lockAll(ctx, c, f)
	if o.contain.dryRun {
		if err != nil {
			return err
		}
		return endContain(c, lockCode(sum.code, code), sum.good, sum.bad)
	}
	o.notReached(f)
	told := o.tellLeft(c)
	if kept := o.keepContained(c); kept != nil || told != nil {
		c.fail("", errors.Join(kept, told))
		code = worse(code, exitFailed)
	}
	if err != nil {
		return err
	}
	return endContain(c, lockCode(sum.code, code), sum.good, sum.bad)
}

// lockAll contains the owner, alone, and then what was made, each as far as it can be: which identities those are, the attacker chose, and none of
// them may keep another from being contained. The error is that it was broken off.
func (o *keyRun) lockAll(ctx context.Context, c *console, f *keytrail.Found) (all containSum, err error) {
	o.contain.access.Allow = func(account string) error { return o.allowed(f, account) }
	add := func(targets []containment.Target) error {
		o.contain.targets, o.contain.apart = targets, true
		sum, err := o.contain.contain(ctx, c)
		all = containSum{code: worse(all.code, sum.code), good: all.good + sum.good, bad: all.bad + sum.bad}
		return err
	}
	owner, err := o.owner(f)
	if err == nil {
		err = add([]containment.Target{owner})
	} else {
		all.code, all.bad = exitContainment, 1
	}
	if err != nil && !o.goesOn(ctx, err) {
		return all, err
	}
	if err != nil {
		c.fail("", err)
		all.code = worse(all.code, exitContainment)
	}
	made, unnamed := o.others(f, owner)
	for _, what := range unnamed {
		c.fail("", fmt.Errorf("%s: NOT CONTAINED: %w", what, errUnnamed))
		all.code, all.bad = worse(all.code, exitContainment), all.bad+1
	}
	if len(made) > 0 && all.code != exitInterrupted {
		if err := add(made); err != nil {
			if interrupted(ctx, err) {
				return all, err
			}
			c.fail("", err)
			all.code = worse(all.code, exitContainment)
		}
	}
	return all, nil
}

// errUnnamed is why what only words name is not contained.
var errUnnamed = errors.New("no user or role contains it")

// goesOn reports whether what was made is still contained after an error about the owner: not if a person broke it off, or cannot be asked.
func (o *keyRun) goesOn(ctx context.Context, err error) bool {
	var e *exitError
	var u *usageError
	if errors.As(err, &e) {
		return e.Code == exitContainment
	}
	return !interrupted(ctx, err) && !errors.As(err, &u)
}

func interrupted(ctx context.Context, err error) bool {
	var s *signalError
	return ctx.Err() != nil || errors.As(err, &s)
}

// lockCode is the exit code of a trace and a containment. That something is not contained outweighs what could not be looked at or kept.
func lockCode(contained, traced int) int {
	switch contained {
	case exitOK:
		return traced
	case exitInterrupted:
		return exitInterrupted
	}
	return exitContainment
}

// owner is what is contained: the key's owner, who is found by the key. The session of a role is contained by its role, and who had a key that is
// gone by what the events say.
func (o *keyRun) owner(f *keytrail.Found) (containment.Target, error) {
	t := f.Target
	if f.Account != "" {
		t.Account = f.Account
	}
	if t.Kind != containment.AccessKey {
		return t, nil
	}
	owner, known := containment.PrincipalOf(f.Owner.ARN)
	switch temporary := strings.HasPrefix(t.Name, "ASIA"); {
	case temporary && !known:
		return t, &exitError{Code: exitContainment, Err: fmt.Errorf("%s: NOT CONTAINED: a temporary key is contained by whom it was issued to, and that is not known", t)}
	case temporary, known && f.Owner.Gone && !o.contain.options.KeyOnly:
		return owner, nil
	}
	return t, nil
}

// others are what else is contained, and in words what cannot be.
func (o *keyRun) others(f *keytrail.Found, owner containment.Target) (list []containment.Target, unnamed []string) {
	if !o.made {
		return nil, nil
	}
	made, unnamed := f.Made()
	for _, t := range made {
		if t.Account != owner.Account || t.Short() != owner.Short() {
			list = append(list, t)
		}
	}
	return list, unnamed
}

// allowed says why a role is not assumed in an account: credentials, and an external id, go where the investigator said, not where an attacker's events lead.
func (o *keyRun) allowed(f *keytrail.Found, account string) error {
	if account == f.Account || account == f.Target.Account || account == trail.AccountOf(o.contain.access.Role) || slices.Contains(o.tracer.Accounts, account) {
		return nil
	}
	return keytrail.NotEntered(account)
}
