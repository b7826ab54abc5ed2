package awsfake

import "strconv"

// queryPage is the part of a list that a call of a query service asks for: each is the name of an element, in and out are those of the token of the next
// page in the request and in the answer.
func queryPage(r *Request, name, each, in, out string, all [][]X) []X {
	from, _ := strconv.Atoi(r.Form.Get(in))
	from = min(from, len(all))
	to := len(all)
	if n := r.Cloud.PageSize; n > 0 {
		to = min(to, from+n)
	}
	page := []X{named(name, each, all[from:to])}
	if to < len(all) {
		page = append(page, el(out, to))
	}
	return page
}
