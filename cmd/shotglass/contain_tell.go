package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/shotglass-ir/shotglass/containment"
)

// containMessage is a "containment" line: what became of a target.
type containMessage struct {
	*containment.Result
	Name string `json:"name"` // of the target, as a person wrote it
}

// tellContainmentPlan prints what would be done: to standard output for --dry-run, which is asked for it, else to the story.
func tellContainmentPlan(c *console, p *containment.Plan, result bool) error {
	if c.json {
		return c.message("containment_plan", struct {
			*containment.Plan
			Name string `json:"name"`
		}{p, p.Target.String()})
	}
	var b strings.Builder
	printContainmentPlan(&b, p)
	if result {
		_, err := io.WriteString(c, printableLines(b.String()))
		return err
	}
	for line := range strings.Lines(b.String()) {
		c.info("%s", strings.TrimRight(line, "\n"))
	}
	return nil
}

func printableLines(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(printable(strings.TrimRight(line, "\n")) + "\n")
	}
	return b.String()
}

func printContainmentPlan(w io.Writer, p *containment.Plan) {
	fmt.Fprintf(w, "%s, as %s\n", p.Target, p.Caller.ARN)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, ch := range p.Changes {
		var notes []string
		if containment.Same(ch.Prior, ch.Want) {
			notes = append(notes, "already so")
		}
		if ch.Risk != "" {
			notes = append(notes, "risk: "+ch.Risk)
		}
		if ch.Irreversible != "" {
			notes = append(notes, "cannot be undone: "+ch.Irreversible)
		} else if ch.Keep != "" {
			notes = append(notes, "stays after release: "+ch.Keep)
		}
		if ch.Optional {
			notes = append(notes, "may fail")
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\n", ch.Stage, ch.Summary, strings.Join(notes, "; "))
	}
	t.Flush()
	for _, x := range p.Waits {
		fmt.Fprintf(w, "  waits %s before %s: %s\n", short(x.For), x.Before, x.Why)
	}
	printResiduals(w, p.Residuals)
	for _, x := range p.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", x)
	}
	for _, m := range p.Missing {
		fmt.Fprintf(w, "  permission missing: %s on %s (%s)\n", m.Action, m.Resource, m.By)
	}
	for _, u := range p.Unchecked {
		fmt.Fprintf(w, "  permission not checked: %s\n", u)
	}
	fmt.Fprintf(w, "  This was never tried on AWS itself: see docs/containment.md.\n")
}

func printResiduals(w io.Writer, all []containment.Residual) {
	for _, r := range all {
		fmt.Fprintf(w, "  stays open: %s: %s. %s\n", r.Path, r.What, r.Do)
	}
}

// tellContainment tells an event of the engine.
func tellContainment(c *console, e containment.Event) {
	if e.Err == nil && e.Kind != containment.EntryTamper && c.quiet {
		return
	}
	c.line(containmentLine(e))
}

func containmentLine(e containment.Event) string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("error: %s: %s: %v", e.Target, e.Text, e.Err)
	case e.Kind == containment.EntryTamper:
		return fmt.Sprintf("TAMPERED: %s: %s", e.Target, e.Text)
	default:
		return fmt.Sprintf("%s: %s: %s", e.Target, cmp.Or(string(e.Stage), "contain"), e.Text)
	}
}

// tellContained prints the result of one target. Result and story both say what does not hold.
func tellContained(c *console, r *containment.Result) error {
	if r == nil {
		return nil
	}
	if c.json {
		return c.message("containment", containMessage{r, r.Target.String()})
	}
	for _, ch := range r.Changes {
		switch ch.Status {
		case "failed", "skipped", "undone", "conflict", "gone":
			c.info("%s: %s: %s", r.Target, ch.Summary, strings.Join(slices.DeleteFunc([]string{ch.Status, ch.Error, ch.Note, string(ch.Found)}, func(s string) bool { return s == "" }), ": "))
		default:
			if ch.Note != "" {
				c.info("%s: %s: %s", r.Target, ch.Summary, ch.Note)
			}
		}
	}
	var b strings.Builder
	if r.Outcome != containment.Released && r.Outcome != containment.Free {
		printResiduals(&b, r.Residuals)
	}
	for line := range strings.Lines(b.String()) {
		c.info("%s:%s", r.Target, strings.TrimRight(line, "\n"))
	}
	c.info("%s: %s", r.Target, outcomeText(r.Outcome))
	_, err := fmt.Fprintf(c, "%s\t%s\t%s\n", printable(r.Target.String()), r.Outcome, printable(r.Journal))
	return err
}

// outcomeText says an outcome to a person. None says isolated because calls succeeded.
func outcomeText(o containment.Outcome) string {
	switch o {
	case containment.Held:
		return "contained: every change reads back as it was made"
	case containment.Unverified:
		return "every change reads back as it was made; whether packets still flow was not looked at"
	case containment.Verified:
		return "contained: every change holds, and no TCP flow of the host itself was seen alive (UDP and containers were not looked at)"
	case containment.Remaining:
		return "NOT CONTAINED WHOLLY: every change holds, but something stays open"
	case containment.Tampered:
		return "TAMPERED: someone undid changes while they were watched; they were made again, and hold now"
	case containment.Partial:
		return "NOT CONTAINED: some changes failed or do not hold"
	case containment.Failed:
		return "NOT CONTAINED: nothing was changed"
	case containment.Released:
		return "released: as it was before, but for what is kept"
	case containment.Conflict:
		return "CONFLICT: what someone else changed meanwhile was left as it is"
	case containment.Free:
		return "not contained"
	}
	return string(o)
}

// ask asks for a yes, on the terminal, once the plans were shown; for each risk by its name.
func (o *containRun) ask(ctx context.Context, c *console, all []*planned) error {
	if o.yes {
		return nil
	}
	var risks []string
	for _, p := range all {
		for _, r := range p.plan.Risks() {
			if !slices.Contains(risks, r) && !slices.Contains(o.risks, r) {
				risks = append(risks, r)
			}
		}
	}
	in, out, err := openTerminal()
	if err != nil {
		return usagef("there is no terminal to ask on").fix("look at the plan with --dry-run, then pass --yes")
	}
	defer in.Close()
	defer out.Close()
	lines := bufio.NewReader(in)
	for _, want := range append(risks, "yes") {
		q := fmt.Sprintf("This risks %s. Type %s to accept: ", want, want)
		if want == "yes" {
			q = fmt.Sprintf("Contain %s? Type yes: ", plural(len(all), "target"))
		}
		got, err := readLine(ctx, lines, out, q)
		if err != nil {
			return err
		}
		if got != want {
			return &exitError{Code: exitFailed, Err: fmt.Errorf("not accepted: nothing was changed")}
		}
	}
	return nil
}

// readLine asks one question on the terminal.
func readLine(ctx context.Context, in *bufio.Reader, out io.Writer, question string) (string, error) {
	fmt.Fprint(out, printable(question))
	type answer struct {
		line string
		err  error
	}
	// A read of a terminal cannot be interrupted: when ctx ends, this goroutine stays in it until the process ends.
	done := make(chan answer, 1)
	go func() {
		line, err := in.ReadString('\n')
		done <- answer{strings.TrimSpace(line), err}
	}()
	select {
	case a := <-done:
		if errors.Is(a.err, io.EOF) {
			a.err = nil // no answer is no
		}
		return a.line, a.err
	case <-ctx.Done():
		fmt.Fprintln(out)
		return "", context.Cause(ctx)
	}
}
