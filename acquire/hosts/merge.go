package hosts

import (
	"maps"
	"reflect"
)

// over returns d, with what it leaves out taken from below. The ways to get there
// (jump_host, jumps, proxy_command) are one choice, and so are those who can decrypt
// (recipients, recipients_file); labels add up, and containment is merged key by key.
func (d Defaults) over(below Defaults) Defaults {
	routed := d.JumpHost != nil || len(d.Jumps) > 0 || d.ProxyCommand != ""
	sealed := len(d.Recipients) > 0 || len(d.RecipientsFile) > 0
	labels := maps.Clone(below.Labels)
	if labels == nil {
		labels = d.Labels
	} else {
		maps.Copy(labels, d.Labels)
	}
	v, b := reflect.ValueOf(&d).Elem(), reflect.ValueOf(below)
	for i := range v.NumField() {
		switch v.Type().Field(i).Name {
		case "JumpHost", "Jumps", "ProxyCommand":
			if routed {
				continue
			}
		case "Recipients", "RecipientsFile":
			if sealed {
				continue
			}
		case "Containment":
			d.Containment = d.Containment.over(below.Containment)
			continue
		}
		if v.Field(i).IsZero() {
			v.Field(i).Set(b.Field(i))
		}
	}
	d.Labels = labels
	return d
}

// Over is the host with what it leaves out taken from the file's defaults.
func (h Host) Over(f *File) Host {
	h.Defaults = h.Defaults.over(f.Defaults)
	return h
}

// Route is the chain of hosts to go through, however it was written.
func (d Defaults) Route() []Jump {
	if d.JumpHost != nil {
		return []Jump{*d.JumpHost}
	}
	return d.Jumps
}

// passphraseOf gives password its meaning beside a key: Margarita Shotgun's one field
// is the passphrase when there is a key. A passphrase must not be offered to a host as
// a login password.
func passphraseOf(key Strings, password, passphrase **Secret) {
	if len(key) > 0 && *password != nil && *passphrase == nil {
		*passphrase, *password = *password, nil
	}
}
