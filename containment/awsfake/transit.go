package awsfake

import "cmp"

// A TransitAttachment is a VPC's to a transit gateway.
type TransitAttachment struct {
	ID, Gateway, VPC string
	Owner            string // of the gateway; default: the account
}

var transitOps = map[string]operation{"DescribeTransitGatewayAttachments": {do: func(r *Request) (any, error) {
	var items [][]X
	for _, a := range r.Region.Transit {
		ok, err := r.matches(attributes{"resource-id": {a.VPC}, "resource-type": {"vpc"}, "transit-gateway-attachment-id": {a.ID}})
		if err != nil {
			return nil, err
		}
		if ok {
			items = append(items, []X{el("transitGatewayAttachmentId", a.ID), el("transitGatewayId", a.Gateway), el("resourceType", "vpc"), el("resourceId", a.VPC),
				el("transitGatewayOwnerId", cmp.Or(a.Owner, r.Account.ID)), el("resourceOwnerId", r.Account.ID), el("state", "available")})
		}
	}
	return r.pages("transitGatewayAttachments", items)
}}}
