package nbd

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"time"
)

// Numbers of the handshake.
const (
	magicServer = 0x4e42444d41474943 // NBDMAGIC
	magicOption = 0x49484156454f5054 // IHAVEOPT
	magicReply  = 0x3e889045565a9

	flagFixed, flagNoZeroes = 1, 2

	optExportName, optAbort, optList, optInfo, optGo, optStructured = 1, 2, 3, 6, 7, 8

	repAck, repServer, repInfo               = 1, 2, 3
	repUnsupported, repInvalid, repUnknown   = 1<<31 | 1, 1<<31 | 3, 1<<31 | 6
	infoExport, infoName, infoDesc, infoSize = 0, 1, 2, 3

	// Of an export: it has flags, is read-only, and several connections see the same.
	flagsExport = 1 | 2 | 1<<8
)

// errDone says that the client left as it should.
var errDone = errors.New("done")

// negotiate finds out what the client wants.
func (s *Server) negotiate(c *conn) (*Export, error) {
	c.SetDeadline(time.Now().Add(handshake))
	defer c.SetDeadline(time.Time{})
	b := binary.BigEndian.AppendUint64(nil, magicServer)
	b = binary.BigEndian.AppendUint64(b, magicOption)
	b = binary.BigEndian.AppendUint16(b, flagFixed|flagNoZeroes)
	if _, err := c.Write(b); err != nil {
		return nil, err
	}
	var head [16]byte
	if _, err := io.ReadFull(c, head[:4]); err != nil {
		return nil, err
	}
	flags := binary.BigEndian.Uint32(head[:])
	if flags&^(flagFixed|flagNoZeroes) != 0 {
		return nil, errors.New("unknown flags of the client")
	}
	for {
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return nil, err
		}
		option, n := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
		if binary.BigEndian.Uint64(head[:]) != magicOption || n > maxOption {
			return nil, errors.New("no option")
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(c, data); err != nil {
			return nil, err
		}
		e, err := s.option(c, option, data, flags&flagNoZeroes != 0)
		if e != nil || err != nil {
			return e, err
		}
	}
}

// option answers one; an export says that the handshake is over.
func (s *Server) option(c *conn, option uint32, data []byte, noZeroes bool) (*Export, error) {
	switch option {
	case optExportName: // there is no way to refuse but to leave
		e := s.export(string(data))
		if e == nil {
			return nil, errors.New("unknown export")
		}
		b := binary.BigEndian.AppendUint64(nil, uint64(e.Size()))
		b = binary.BigEndian.AppendUint16(b, flagsExport)
		if !noZeroes {
			b = append(b, make([]byte, 124)...)
		}
		_, err := c.Write(b)
		return e, err
	case optAbort:
		c.reply(option, repAck, nil)
		return nil, errDone
	case optList:
		if len(data) > 0 {
			return nil, c.reply(option, repInvalid, nil)
		}
		for _, e := range s.Exports {
			if err := c.reply(option, repServer, append(binary.BigEndian.AppendUint32(nil, uint32(len(e.Name))), e.Name...)); err != nil {
				return nil, err
			}
		}
		return nil, c.reply(option, repAck, nil)
	case optInfo, optGo:
		return s.info(c, option, data)
	case optStructured:
		if len(data) > 0 {
			return nil, c.reply(option, repInvalid, nil)
		}
		c.structured = true
		return nil, c.reply(option, repAck, nil)
	}
	return nil, c.reply(option, repUnsupported, nil)
}

// info answers who asks what an export is, or wants it.
func (s *Server) info(c *conn, option uint32, data []byte) (*Export, error) {
	if len(data) < 6 || int64(binary.BigEndian.Uint32(data)) > int64(len(data)-6) {
		return nil, c.reply(option, repInvalid, nil)
	}
	n := binary.BigEndian.Uint32(data)
	name, wants := string(data[4:4+n]), data[4+n:]
	if len(wants) != 2+2*int(binary.BigEndian.Uint16(wants)) {
		return nil, c.reply(option, repInvalid, nil)
	}
	e := s.export(name)
	if e == nil {
		return nil, c.reply(option, repUnknown, nil)
	}
	var infos [][]byte
	kind := func(k uint16) []byte { return binary.BigEndian.AppendUint16(nil, k) }
	infos = append(infos, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(kind(infoExport), uint64(e.Size())), flagsExport))
	for w := range slices.Chunk(wants[2:], 2) {
		switch binary.BigEndian.Uint16(w) {
		case infoName:
			infos = append(infos, append(kind(infoName), e.Name...))
		case infoDesc:
			infos = append(infos, append(kind(infoDesc), e.Description...))
		case infoSize: // any place, best a page, at most
			b := kind(infoSize)
			for _, v := range []uint32{1, 4096, maxRequest} {
				b = binary.BigEndian.AppendUint32(b, v)
			}
			infos = append(infos, b)
		}
	}
	for _, b := range infos {
		if err := c.reply(option, repInfo, b); err != nil {
			return nil, err
		}
	}
	if err := c.reply(option, repAck, nil); err != nil || option == optInfo {
		return nil, err
	}
	return e, nil
}

// export finds one by name; none has no name.
func (s *Server) export(name string) *Export {
	for i := range s.Exports {
		if name == "" || s.Exports[i].Name == name {
			return &s.Exports[i]
		}
	}
	return nil
}

// reply answers an option.
func (c *conn) reply(option, kind uint32, data []byte) error {
	b := binary.BigEndian.AppendUint64(nil, magicReply)
	b = binary.BigEndian.AppendUint32(b, option)
	b = binary.BigEndian.AppendUint32(b, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	_, err := c.Write(append(b, data...))
	return err
}
