package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/shotglass/notify"
	"github.com/shotglass-ir/shotglass/transport"
)

const groupNotify = "Notifications"

// How long the end of a run waits for notifications, also when the user is in a hurry.
const (
	notifyGrace  = time.Minute
	notifyHurry  = 10 * time.Second
	notifySecret = "SHOTGLASS_NOTIFY_SECRET"
)

func notifyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "notify", EnvVars: env("NOTIFY"), Usage: "tell how the run goes, at its start, for each host and at its end: a webhook or an SNS topic, `https://...|arn:aws:sns:...`", Category: groupNotify},
		&cli.StringFlag{Name: "notify-secret-file", EnvVars: env("NOTIFY_SECRET_FILE"), TakesFile: true, Usage: "sign what goes to webhooks with the secret in the first line of `FILE`; or set " + notifySecret, Category: groupNotify},
		&cli.BoolFlag{Name: "insecure-notify-http", Usage: "take a webhook without TLS on another machine: anybody in between reads where the evidence is", Category: groupNotify, DisableDefaultText: true},
	}
}

// readNotify opens the places of --notify, else of the hosts file. A webhook's URL may hold a
// secret, so the manifest records what the place calls itself.
func (o *captureOptions) readNotify(ctx *cli.Context, file *hostsfile.File) error {
	list, origin := ctx.StringSlice("notify"), ""
	if len(list) == 0 && len(file.Notify) > 0 {
		list, origin = file.Notify, "file "+file.Path
	}
	source := secretSource{what: "notify-secret", flag: "notify-secret-file", file: ctx.String("notify-secret-file"), env: notifySecret}
	ask, from, err := source.open(o.prompts)
	if err != nil {
		return err
	}
	if ask == nil && file.NotifySecret != nil {
		from = file.NotifySecret.String()
		if ask, err = file.NotifySecret.Func(os.LookupEnv); err != nil {
			return usagef("notify_secret: %v", err)
		}
		if file.NotifySecret.Env != "" {
			os.Unsetenv(file.NotifySecret.Env) // no proxy command inherits it
		}
	}
	secret, err := notifyKey(ctx.Context, ask)
	if err != nil {
		return usagef("notify secret: %v", err)
	}
	if ask != nil {
		o.Engine.Settings = append(o.Engine.Settings, acquire.Setting{Name: "notify-secret", Value: secretValue, Origin: from})
	}
	var names []string
	hooks := 0
	for _, place := range list {
		var t notify.Target
		if notify.IsTopic(place) {
			t, err = notify.NewTopic(ctx.Context, place, ctx.String("s3-profile"))
		} else {
			hooks++
			t, err = notify.NewWebhook(place, secret, ctx.Bool("insecure-notify-http"))
		}
		if err != nil {
			return usagef("--notify: %v", err).fix("want https://... or arn:aws:sns:REGION:ACCOUNT:TOPIC")
		}
		o.Notify = append(o.Notify, t)
		names = append(names, t.String())
	}
	if secret != nil && hooks == 0 {
		return usagef("there is a secret to sign notifications with, and no webhook").fix("--notify https://...")
	}
	for i := range o.Engine.Settings {
		if s := &o.Engine.Settings[i]; s.Name == "notify" {
			s.Value = strings.Join(names, "\n")
			if origin != "" {
				s.Origin = origin
			}
		}
	}
	return nil
}

func notifyKey(ctx context.Context, ask transport.SecretFunc) ([]byte, error) {
	if ask == nil {
		return nil, nil
	}
	return ask(ctx, "secret of notifications")
}

// A notifier tells others what happens. Its zero value tells nobody.
type notifier struct {
	*notify.Sender
	o   *captureOptions
	log *runLog
	n   atomic.Int64
}

// startNotify tells that the run starts. What becomes of each message goes into the audit log;
// what failed is told.
func (o *captureOptions) startNotify(log *runLog, problem func(error)) *notifier {
	n := &notifier{o: o, log: log}
	if len(o.Notify) == 0 {
		return n
	}
	n.Sender = notify.New(o.Notify, notify.Options{Sent: func(target string, m notify.Message, err error) {
		e := audit.Entry{Event: "notified", Host: m.Host, Location: target, Message: fmt.Sprintf("notified %s: %s", target, m.Event)}
		if err != nil {
			e.Error, e.Message = err.Error(), fmt.Sprintf("could not notify %s (%s): %v", target, m.Event, err)
			about := m.Event + " of the run"
			if m.Host != "" {
				about = "end of " + m.Host
			}
			problem(fmt.Errorf("%s was not told of the %s: %w", target, about, err))
		}
		log.Add(e)
	}})
	n.send(notify.Message{Event: "start", Text: fmt.Sprintf("%s starts a capture of %s", o.Engine.Operator, plural(len(o.Jobs), "host"))})
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (n *notifier) send(m notify.Message) {
	if n.Sender == nil {
		return
	}
	m.ID = fmt.Sprintf("%s-%d", n.log.Run(), n.n.Add(1))
	m.Time, m.Run, m.Case, m.By, m.Hosts = time.Now(), n.log.Run(), n.o.Engine.Case, n.o.Engine.Operator, len(n.o.Jobs)
	if m.Case != "" {
		m.Text = "case " + m.Case + ": " + m.Text
	}
	m.Text = printable(m.Text)
	n.Send(m)
}

// observe tells how a host ended. Nothing of what the host said goes along.
func (n *notifier) observe(e acquire.Event) {
	f, ok := e.(acquire.Finished)
	if !ok || f.Result == nil {
		return
	}
	r := f.Result
	m := notify.Message{Event: "host", Host: r.Host, State: string(r.State), Location: r.Image.Location, Manifest: r.Manifest, LeftOnHost: len(r.Left) > 0}
	m.Text = r.Host + ": " + m.State
	if r.State != acquire.StateFailed {
		m.RawBytes, m.RawSHA256 = r.Image.Raw.Bytes, r.Image.Raw.SHA256
		m.StoredBytes, m.StoredSHA256 = r.Image.Stored.Bytes, r.Image.Stored.SHA256
		m.Text += ", " + size(m.RawBytes)
	}
	if r.Other != nil {
		m.Text += "; the content of another image of it was rejected"
	}
	if m.LeftOnHost {
		m.Text += "; something is left on the host"
	}
	n.send(m)
}

// errNotTold makes the exit code 3: the user asked for notifications.
var errNotTold = errors.New("notifications were not delivered; the audit log says which")

// end tells how the run ended, and waits a while until all is sent.
func (n *notifier) end(ctx context.Context, results []acquire.Result, code int) error {
	if n.Sender == nil {
		return nil
	}
	m := notify.Message{Event: "end", Code: &code}
	for _, r := range results {
		switch r.State {
		case acquire.StateComplete:
			m.Complete++
		case acquire.StatePartial:
			m.Partial++
		}
	}
	m.Failed = len(n.o.Jobs) - m.Complete - m.Partial
	m.Text = fmt.Sprintf("the capture of %s ended: %d complete, %d partial, %d failed, exit code %d", plural(len(n.o.Jobs), "host"), m.Complete, m.Partial, m.Failed, code)
	n.send(m)
	wait := notifyGrace
	if ctx.Err() != nil {
		wait = notifyHurry
	}
	if failed := n.Close(wait); failed > 0 {
		return fmt.Errorf("%d %w", failed, errNotTold)
	}
	return nil
}
