package awsfake

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultKey is the key of EBS's own, with which nothing can be shared.
const DefaultKey = "alias/aws/ebs"

// A Snapshot is one of a volume.
type Snapshot struct {
	ID, Volume, Description, KMSKey string
	State, Message                  string // "pending", "completed", "error"
	Tags                            map[string]string
	Started, Completed              time.Time
	Lock                            string // "governance 7", in days
	LockEnds                        time.Time
	Shared                          []string

	looks, hidden int
	fails         string
}

var snapshotOps = map[string]operation{
	"DescribeSnapshots":       {do: describeSnapshots},
	"CreateSnapshots":         {do: createSnapshots, on: onSnapshots, writes: true},
	"CopySnapshot":            {do: copySnapshot, on: onCopy, writes: true},
	"DescribeLockedSnapshots": {do: describeLocked},
	"LockSnapshot":            {do: lockSnapshot, on: onSnapshot, writes: true},
	"ModifySnapshotAttribute": {do: modifySnapshot, on: onSnapshot, writes: true},
}

// onSnapshots are the resources of CreateSnapshots: what is made, the instance, and its volumes.
func onSnapshots(r *Request) []string {
	id := r.Form.Get("InstanceSpecification.InstanceId")
	arns := []string{"arn:aws:ec2:" + r.Region.Name + "::snapshot/*", r.Region.arn("instance", id)}
	if i := r.Region.Instances[id]; i != nil {
		for _, d := range i.Devices {
			arns = append(arns, r.Region.arn("volume", d.Volume))
		}
	}
	return arns
}

// onSnapshot is the snapshot that a call is about. Its ARN names no account.
func onSnapshot(r *Request) []string {
	return []string{"arn:aws:ec2:" + r.Region.Name + "::snapshot/" + r.Form.Get("SnapshotId")}
}

func onCopy(r *Request) []string {
	return []string{"arn:aws:ec2:" + r.Region.Name + "::snapshot/*", "arn:aws:ec2:" + r.Region.Name + "::snapshot/" + r.Form.Get("SourceSnapshotId")}
}

// createSnapshots has no token by which a second call is known: it makes a second set.
func createSnapshots(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceSpecification.InstanceId"))
	if err != nil {
		return nil, err
	}
	if i.State == "terminated" || len(i.Devices) == 0 {
		return nil, fail("InvalidParameterValue", "There are no volumes attached to the instance '%s'", i.ID)
	}
	var items [][]X
	for _, d := range i.Devices {
		s := &Snapshot{
			ID: r.Region.id("snap-"), Volume: d.Volume, KMSKey: d.KMSKey, Description: r.Form.Get("Description"), State: "pending", Tags: r.tags("TagSpecification.1.Tag"),
			Started: r.Cloud.now, fails: d.SnapshotFails, hidden: r.Region.Lag,
		}
		r.Region.Snapshots[s.ID] = s
		items = append(items, []X{el("snapshotId", s.ID), el("volumeId", s.Volume), el("volumeSize", 8), el("state", s.State), el("progress", ""), el("encrypted", s.KMSKey != ""),
			el("startTime", s.Started.Format(time.RFC3339)), el("ownerId", r.Account.ID), tagSet(s.Tags)})
	}
	return []X{list("snapshotSet", items...)}, nil
}

// describeSnapshots lets pending ones go on, each by each look at it.
func describeSnapshots(r *Request) (any, error) {
	seen := maps.Clone(r.Region.Snapshots)
	for id, s := range seen {
		if s.hidden > 0 {
			s.hidden--
			delete(seen, id)
		}
	}
	found, err := pick(r, seen, "SnapshotId", "InvalidSnapshot.NotFound", func(s *Snapshot) attributes {
		return attributes{"snapshot-id": {s.ID}, "volume-id": {s.Volume}, "status": {s.State}}.tags(s.Tags)
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, s := range found {
		x := []X{el("snapshotId", s.ID), el("volumeId", s.Volume), el("volumeSize", 8), el("encrypted", s.KMSKey != ""), el("description", s.Description),
			el("startTime", s.Started.Format(time.RFC3339)), el("ownerId", r.Account.ID), tagSet(s.Tags), el("progress", r.Region.look(s)+"%"), el("status", s.State)}
		if s.KMSKey != "" {
			x = append(x, el("kmsKeyId", keyARN(r, s.KMSKey)))
		}
		if s.Message != "" {
			x = append(x, el("statusMessage", s.Message))
		}
		if !s.Completed.IsZero() {
			x = append(x, el("completionTime", s.Completed.Format(time.RFC3339)))
		}
		items = append(items, x)
	}
	return r.pages("snapshotSet", items)
}

// look is how many hundredths of a snapshot are stored.
func (r *Region) look(s *Snapshot) string {
	if s.State == "pending" {
		s.looks++
		switch {
		case s.looks <= r.SnapshotLooks:
			return fmt.Sprint(100 * s.looks / (r.SnapshotLooks + 1))
		case s.fails != "":
			s.State, s.Message = "error", s.fails
		default:
			s.State, s.Completed = "completed", r.cloud.now
		}
	}
	if s.State == "error" {
		return "99"
	}
	return "100"
}

func keyARN(r *Request, key string) string {
	if strings.HasPrefix(key, "arn:") {
		return key
	}
	return "arn:aws:kms:" + r.Region.Name + ":" + r.Account.ID + ":key/" + strings.TrimPrefix(key, "alias/")
}

func (r *Request) snapshot(id string) (*Snapshot, error) {
	if s := r.Region.Snapshots[id]; s != nil {
		return s, nil
	}
	return nil, fail("InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.", id)
}

func copySnapshot(r *Request) (any, error) {
	s, err := r.snapshot(r.Form.Get("SourceSnapshotId"))
	if err != nil {
		return nil, err
	}
	if s.State != "completed" {
		return nil, fail("IncorrectState", "Snapshot is in invalid state - %s", s.State)
	}
	c := &Snapshot{ID: r.Region.id("snap-"), Volume: "vol-ffffffff", KMSKey: r.Form.Get("KmsKeyId"), State: "pending", Tags: r.tags("TagSpecification.1.Tag"), Started: r.Cloud.now, hidden: r.Region.Lag}
	r.Region.Snapshots[c.ID] = c
	return []X{el("snapshotId", c.ID), tagSet(c.Tags)}, nil
}

func lockSnapshot(r *Request) (any, error) {
	s, err := r.snapshot(r.Form.Get("SnapshotId"))
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.Lock, "compliance") && r.Form.Get("LockMode") != "compliance" {
		return nil, fail("InvalidParameterValue", "A snapshot locked in compliance mode cannot be locked in governance mode")
	}
	days, err := strconv.Atoi(r.Form.Get("LockDuration"))
	ends := r.Cloud.now.AddDate(0, 0, days)
	if text := r.Form.Get("ExpirationDate"); text != "" {
		if ends, err = time.Parse(time.RFC3339, text); err == nil {
			days = int(math.Round(ends.Sub(r.Cloud.now).Hours() / 24))
		}
	}
	if err != nil || days < 1 {
		return nil, fail("InvalidParameterValue", "Specify a lock duration or an expiration date")
	}
	s.Lock, s.LockEnds = fmt.Sprint(r.Form.Get("LockMode"), " ", days), ends
	return []X{el("snapshotId", s.ID), el("lockState", r.Form.Get("LockMode"))}, nil
}

// describeLocked lists the locked ones of those that are asked about. The time of a lock of what is not stored yet has not begun.
func describeLocked(r *Request) (any, error) {
	var items [][]X
	for _, id := range r.values("SnapshotId") {
		s, err := r.snapshot(id)
		if err != nil {
			return nil, err
		}
		mode, days, locked := strings.Cut(s.Lock, " ")
		if !locked {
			continue
		}
		if !r.Cloud.now.Before(s.LockEnds) {
			mode = "expired"
		}
		x := []X{el("snapshotId", s.ID), el("lockState", mode), el("lockDuration", days), el("ownerId", r.Account.ID)}
		if s.State == "completed" {
			x = append(x, el("lockExpiresOn", s.LockEnds.Format(time.RFC3339)))
		}
		items = append(items, x)
	}
	return []X{list("snapshotSet", items...)}, nil
}

func modifySnapshot(r *Request) (any, error) {
	s, err := r.snapshot(r.Form.Get("SnapshotId"))
	if err != nil {
		return nil, err
	}
	if s.KMSKey == DefaultKey {
		return nil, fail("OperationNotPermitted", "Encrypted snapshots with EBS default key cannot be shared")
	}
	for _, id := range append(r.values("UserId"), r.values("CreateVolumePermission.Add")...) {
		if !slices.Contains(s.Shared, id) {
			s.Shared = append(s.Shared, id)
		}
	}
	return []X{el("return", true)}, nil
}
