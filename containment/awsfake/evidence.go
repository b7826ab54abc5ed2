package awsfake

import (
	"cmp"
	"encoding/base64"
)

// evidenceOps tell of an instance what containment does not need to know.
var evidenceOps = map[string]operation{
	"DescribeVolumes":      {do: describeVolumes},
	"DescribeTags":         {do: describeTags},
	"GetConsoleScreenshot": {do: consoleScreenshot, on: on("instance", "InstanceId")},
}

func describeVolumes(r *Request) (any, error) {
	type volume struct {
		*Device
		instance *Instance
	}
	all := map[string]volume{}
	for _, i := range r.Region.Instances {
		if i.State == "terminated" {
			continue
		}
		for _, d := range i.Devices {
			all[d.Volume] = volume{d, i}
		}
	}
	found, err := pick(r, all, "VolumeId", "InvalidVolume.NotFound", func(v volume) attributes {
		return attributes{"attachment.instance-id": {v.instance.ID}, "volume-id": {v.Volume}}
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, v := range found {
		key := cmp.Or(v.KMSKey, r.Region.Posture.VolumeKeys[v.Volume])
		x := []X{el("volumeId", v.Volume), el("size", 8), el("status", "in-use"), el("encrypted", key != ""), el("availabilityZone", r.Region.Name+"a"),
			list("attachmentSet", []X{el("volumeId", v.Volume), el("instanceId", v.instance.ID), el("device", v.Name), el("deleteOnTermination", v.DeleteOnTermination), el("status", "attached")})}
		if key != "" {
			x = append(x, el("kmsKeyId", keyARN(r, key)))
		}
		items = append(items, x)
	}
	return r.pages("volumeSet", items)
}

// describeTags knows those of instances, groups and network ACLs.
func describeTags(r *Request) (any, error) {
	var items [][]X
	add := func(kind, id string, tags map[string]string) error {
		for _, k := range sorted(tags) {
			ok, err := r.matches(attributes{"resource-id": {id}, "resource-type": {kind}, "key": {k}, "value": {tags[k]}})
			if err != nil {
				return err
			}
			if ok {
				items = append(items, []X{el("resourceId", id), el("resourceType", kind), el("key", k), el("value", tags[k])})
			}
		}
		return nil
	}
	for _, id := range sorted(r.Region.Instances) {
		if err := add("instance", id, r.Region.tagsOfInstance(r.Region.Instances[id])); err != nil {
			return nil, err
		}
	}
	for _, id := range sorted(r.Region.Groups) {
		if err := add("security-group", id, r.Region.Groups[id].Tags); err != nil {
			return nil, err
		}
	}
	return r.pages("tagSet", items)
}

// consoleScreenshot does not let the console be woken: that is a key press on evidence.
func consoleScreenshot(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if r.Form.Get("WakeUp") == "true" {
		return nil, fail("InternalError", "awsfake: a key was pressed on %s", i.ID)
	}
	return []X{el("instanceId", i.ID), el("imageData", base64.StdEncoding.EncodeToString(i.Screenshot))}, nil
}
