package awsfake

import "encoding/json"

// firewallService is Network Firewall. Its firewalls are Posture.NetworkFirewalls, with the kinds of logs that go somewhere.
func firewallService() *service {
	arn := func(r *Request, name string) string {
		return "arn:" + r.Account.partition() + ":network-firewall:" + r.Region.Name + ":" + r.Account.ID + ":firewall/" + name
	}
	asked := func(r *Request) string {
		var in struct{ FirewallArn string }
		json.Unmarshal(r.Body, &in) //nolint:errcheck // then there is no such firewall
		return in.FirewallArn
	}
	return &service{prefix: "network-firewall", proto: targetJSON, ops: map[string]operation{
		"ListFirewalls": {do: func(r *Request) (any, error) {
			all := []map[string]string{}
			for _, name := range sorted(r.Region.Posture.NetworkFirewalls) {
				all = append(all, map[string]string{"FirewallName": name, "FirewallArn": arn(r, name)})
			}
			page, next, err := jsonPage(r, all, "MaxResults", "NextToken")
			if err != nil {
				return nil, err
			}
			out := map[string]any{"Firewalls": page}
			if next != "" {
				out["NextToken"] = next
			}
			return out, nil
		}},
		"DescribeLoggingConfiguration": {on: func(r *Request) []string { return []string{asked(r)} }, do: func(r *Request) (any, error) {
			for name, kinds := range r.Region.Posture.NetworkFirewalls {
				if arn(r, name) != asked(r) {
					continue
				}
				out := map[string]any{"FirewallArn": arn(r, name)}
				list := []map[string]any{}
				for _, k := range kinds {
					list = append(list, map[string]any{"LogType": k, "LogDestinationType": "S3", "LogDestination": map[string]string{"bucketName": "logs"}})
				}
				if len(list) > 0 { // one where nothing was ever set has none at all
					out["LoggingConfiguration"] = map[string]any{"LogDestinationConfigs": list}
				}
				return out, nil
			}
			return nil, fail("ResourceNotFoundException", "Firewall %s was not found", asked(r))
		}},
	}}
}
