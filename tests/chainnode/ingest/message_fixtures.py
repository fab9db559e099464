"""ISO 20022 messages of our own making: each type in every version, alone or in the envelopes that are in use.

All are about the same two payments between bank-a and bank-b, so that what a message says about them can be compared
with what another does. Nothing is taken from a published example.
"""

from __future__ import annotations

from collections.abc import Callable

UETRS = ("9b2f4c1e-6a55-4d10-8f7b-0c1d2e3f4a50", "1d0c3b5a-7e42-4c9b-a6d8-5f60718293a4")
REFERENCES = ("ORDER-2026-0413-A", "ORDER-2026-0413-B")
AMOUNTS = ("1250.00", "99.50")
IBANS = ("DE89370400440532013000", "GB82WEST12345698765432")
BANK_A, BANK_B, BANK_C = "BKAACNBJXXX", "BKABCNBJXXX", "BKACCNBJXXX"
SETTLEMENT = "<SttlmInf><SttlmMtd>CLRG</SttlmMtd><ClrSys><Prtry>HVPS</Prtry></ClrSys></SttlmInf>"

VERSIONS = {
    "pacs.008.001": range(2, 14),
    "pacs.009.001": range(2, 13),
    "pacs.004.001": range(2, 15),
    "pacs.002.001": range(3, 16),
    "pain.001.001": range(3, 13),
    "camt.054.001": range(2, 14),
}


def institution(code: str, version: int = 8) -> str:
    """Return the identification of a bank; its BIC stands under another name before version 3."""
    name = "BIC" if version < 3 else "BICFI"
    return f"<FinInstnId><{name}>{code}</{name}></FinInstnId>"


def group_header(count: int | None, more: str = "", message_id: str = "MSG-1", agents: str = "") -> str:
    """Return a group header with count of transactions and whatever else is given."""
    number = "" if count is None else f"<NbOfTxs>{count}</NbOfTxs>"
    begun = f"<MsgId>{message_id}</MsgId><CreDtTm>2026-04-13T09:07:00+08:00</CreDtTm>"
    return f"<GrpHdr>{begun}{number}{more}{agents}</GrpHdr>"


def hop(sender: str, receiver: str, version: int = 8) -> str:
    """Return the two ends of a message's own way."""
    return f"<InstgAgt>{institution(sender, version)}</InstgAgt><InstdAgt>{institution(receiver, version)}</InstdAgt>"


def parties(version: int = 8) -> str:
    """Return the customers of the payments, their accounts and banks."""
    return (
        f"<Dbtr><Nm>Zhao Min</Nm></Dbtr><DbtrAcct><Id><IBAN>{IBANS[0]}</IBAN></Id></DbtrAcct>"
        f"<DbtrAgt>{institution(BANK_A, version)}</DbtrAgt><CdtrAgt>{institution(BANK_B, version)}</CdtrAgt>"
        f"<Cdtr><Nm>Sun Hong</Nm></Cdtr><CdtrAcct><Id><IBAN>{IBANS[1]}</IBAN></Id></CdtrAcct>"
    )


def ids(index: int, version: int = 8) -> str:
    """Return the ids of a payment; UETRs have been there since version 8 of most messages."""
    uetr = f"<UETR>{UETRS[index]}</UETR>" if version >= 8 else ""
    return f"<PmtId><EndToEndId>{REFERENCES[index]}</EndToEndId><TxId>TX-{index}</TxId>{uetr}</PmtId>"


def original_ids(index: int, version: int = 9) -> str:
    """Return the ids of the payment that a report or a return is about."""
    uetr = f"<OrgnlUETR>{UETRS[index]}</OrgnlUETR>" if version >= 9 else ""
    return f"<OrgnlEndToEndId>{REFERENCES[index]}</OrgnlEndToEndId><OrgnlTxId>TX-{index}</OrgnlTxId>{uetr}"


def document(name: str, version: int, inner: str) -> str:
    """Return a Document of that message and version."""
    return f'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:{name}.{version:02d}">{inner}</Document>'


def pacs008(version: int = 8, *, count: int = 2, header: str = "", message_id: str = "MSG-1") -> str:
    """Return a pacs.008 of both payments, from bank-a to bank-b."""
    transactions = "".join(
        f'<CdtTrfTxInf>{ids(index, version)}<IntrBkSttlmAmt Ccy="CNY">{AMOUNTS[index]}</IntrBkSttlmAmt>'
        f"<IntrBkSttlmDt>2026-04-13</IntrBkSttlmDt><ChrgBr>SHAR</ChrgBr>{parties(version)}</CdtTrfTxInf>"
        for index in range(count)
    )
    head = group_header(count, header + SETTLEMENT, message_id, hop(BANK_A, BANK_B, version))
    return document("pacs.008.001", version, f"<FIToFICstmrCdtTrf>{head}{transactions}</FIToFICstmrCdtTrf>")


def pacs009(version: int = 8, *, covered: str = "") -> str:
    """Return a pacs.009 of the first payment's amount, from bank-a to bank-b; with `covered` a COV."""
    root = "FICdtTrf" if version >= 3 else "FinInstnCdtTrf"
    banks = f"<Dbtr>{institution(BANK_A, version)}</Dbtr><Cdtr>{institution(BANK_B, version)}</Cdtr>"
    transaction = (
        f'<CdtTrfTxInf>{ids(0, version)}<IntrBkSttlmAmt Ccy="CNY">{AMOUNTS[0]}</IntrBkSttlmAmt>'
        f"<IntrBkSttlmDt>2026-04-13</IntrBkSttlmDt>{hop(BANK_A, BANK_B, version)}{banks}{covered}</CdtTrfTxInf>"
    )
    return document("pacs.009.001", version, f"<{root}>{group_header(1, SETTLEMENT)}{transaction}</{root}>")


def underlying() -> str:
    """Return the customer's payment that a COV covers."""
    remittance = '<RmtInf><Ustrd>Invoice 77</Ustrd></RmtInf><InstdAmt Ccy="CNY">1249.00</InstdAmt>'
    return f"<UndrlygCstmrCdtTrf>{parties()}{remittance}</UndrlygCstmrCdtTrf>"


def pacs004(version: int = 9) -> str:
    """Return a pacs.004 by which bank-b sends the second payment back; RtrChain has been there since version 9."""
    if version >= 9:
        chain = (
            "<RtrChain><Dbtr><Pty><Nm>Sun Hong</Nm></Pty></Dbtr>"
            f"<DbtrAgt>{institution(BANK_B)}</DbtrAgt><CdtrAgt>{institution(BANK_A)}</CdtrAgt>"
            "<Cdtr><Pty><Nm>Zhao Min</Nm></Pty></Cdtr></RtrChain>"
        )
    else:
        chain = ""
    original = f"<OrgnlTxRef>{parties(version)}</OrgnlTxRef>"
    transaction = (
        f"<TxInf><RtrId>RTR-1</RtrId>{original_ids(1, version)}"
        f'<RtrdIntrBkSttlmAmt Ccy="CNY">{AMOUNTS[1]}</RtrdIntrBkSttlmAmt><IntrBkSttlmDt>2026-04-14</IntrBkSttlmDt>'
        f"{hop(BANK_B, BANK_A, version)}{chain}<RtrRsnInf><Rsn><Cd>AC04</Cd></Rsn></RtrRsnInf>{original}</TxInf>"
    )
    header = group_header(1, f'<TtlRtrdIntrBkSttlmAmt Ccy="CNY">{AMOUNTS[1]}</TtlRtrdIntrBkSttlmAmt>{SETTLEMENT}')
    return document("pacs.004.001", version, f"<PmtRtr>{header}{transaction}</PmtRtr>")


def pacs002(version: int = 10, *, statuses: tuple[str, str] = ("ACSC", "RJCT")) -> str:
    """Return a pacs.002 in which bank-b tells bank-a how far both payments are."""
    reasons = {"RJCT": "<StsRsnInf><Rsn><Cd>AC01</Cd></Rsn></StsRsnInf>"}
    transactions = "".join(
        f"<TxInfAndSts>{original_ids(index, version)}<TxSts>{status}</TxSts>{reasons.get(status, '')}"
        f"{hop(BANK_B, BANK_A, version)}</TxInfAndSts>"
        for index, status in enumerate(statuses)
    )
    original = "<OrgnlGrpInfAndSts><OrgnlMsgId>MSG-1</OrgnlMsgId><OrgnlMsgNmId>pacs.008</OrgnlMsgNmId>"
    return document(
        "pacs.002.001",
        version,
        f"<FIToFIPmtStsRpt>{group_header(None)}{original}</OrgnlGrpInfAndSts>{transactions}</FIToFIPmtStsRpt>",
    )


def pain001(version: int = 9, *, second: str = "CNY") -> str:
    """Return a pain.001 by which a customer of bank-a asks for both payments; `second` is the other's currency."""
    day = "<Dt>2026-04-13</Dt>" if version >= 8 else "2026-04-13"
    name = "BIC" if version < 4 else "BICFI"
    agents = [f"<FinInstnId><{name}>{code}</{name}></FinInstnId>" for code in (BANK_A, BANK_B)]
    transactions = "".join(
        f"<CdtTrfTxInf><PmtId><EndToEndId>{REFERENCES[index]}</EndToEndId></PmtId>"
        f'<Amt><InstdAmt Ccy="{currency}">{AMOUNTS[index]}</InstdAmt></Amt><CdtrAgt>{agents[1]}</CdtrAgt>'
        f"<Cdtr><Nm>Sun Hong</Nm></Cdtr><CdtrAcct><Id><IBAN>{IBANS[1]}</IBAN></Id></CdtrAcct></CdtTrfTxInf>"
        for index, currency in enumerate(("CNY", second))
    )
    group = (
        "<PmtInf><PmtInfId>P-1</PmtInfId><PmtMtd>TRF</PmtMtd><NbOfTxs>2</NbOfTxs><CtrlSum>1349.5</CtrlSum>"
        f"<ReqdExctnDt>{day}</ReqdExctnDt><Dbtr><Nm>Zhao Min</Nm></Dbtr>"
        f"<DbtrAcct><Id><IBAN>{IBANS[0]}</IBAN></Id></DbtrAcct><DbtrAgt>{agents[0]}</DbtrAgt>{transactions}</PmtInf>"
    )
    head = group_header(2, "<CtrlSum>1349.50</CtrlSum><InitgPty><Nm>Zhao Min</Nm></InitgPty>")
    return document("pain.001.001", version, f"<CstmrCdtTrfInitn>{head}{group}</CstmrCdtTrfInitn>")


def details(index: int, *, more: str = "", amount: str = "") -> str:
    """Return the transaction details of one of the payments in an entry."""
    given = amount or AMOUNTS[index]
    uetr = f"<UETR>{UETRS[index]}</UETR>"
    return (
        f"<TxDtls><Refs><EndToEndId>{REFERENCES[index]}</EndToEndId><TxId>TX-{index}</TxId>{uetr}</Refs>"
        f'<Amt Ccy="CNY">{given}</Amt><RltdAgts><DbtrAgt>{institution(BANK_A)}</DbtrAgt>'
        f"<CdtrAgt>{institution(BANK_B)}</CdtrAgt></RltdAgts>{more}</TxDtls>"
    )


def entry(amount: str, inner: str, *, direction: str = "CRDT", status: str = "<Cd>BOOK</Cd>", more: str = "") -> str:
    """Return an entry of an account."""
    return (
        f'<Ntry><Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>{direction}</CdtDbtInd>{more}<Sts>{status}</Sts>'
        f"<NtryDtls>{inner}</NtryDtls></Ntry>"
    )


def camt054(version: int = 8, *, entries: str = "", summary: str = "", message_id: str = "MSG-1") -> str:
    """Return a camt.054 in which bank-b tells the payee of both payments, by default in one batch entry."""
    word = "BOOK" if version < 7 else "<Cd>BOOK</Cd>"
    batch = '<Btch><NbOfTxs>2</NbOfTxs><TtlAmt Ccy="CNY">1349.50</TtlAmt></Btch>'
    told = entries or entry("1349.50", batch + details(0) + details(1), status=word)
    account = f"<Acct><Id><IBAN>{IBANS[1]}</IBAN></Id><Svcr>{institution(BANK_B, version)}</Svcr></Acct>"
    notice = f"<Ntfctn><Id>N-1</Id>{account}{summary}{told}</Ntfctn>"
    head = group_header(None, message_id=message_id)
    inner = f"<BkToCstmrDbtCdtNtfctn>{head}{notice}</BkToCstmrDbtCdtNtfctn>"
    return document("camt.054.001", version, inner)


BUILDERS: dict[str, Callable[[int], str]] = {
    "pacs.008.001": pacs008,
    "pacs.009.001": pacs009,
    "pacs.004.001": pacs004,
    "pacs.002.001": pacs002,
    "pain.001.001": pain001,
    "camt.054.001": camt054,
}


def application_header(identifier: str, version: int, sender: str, receiver: str) -> str:
    """Return a business application header, head.001 of that version."""
    return (
        f'<AppHdr xmlns="urn:iso:std:iso:20022:tech:xsd:head.001.001.{version:02d}">'
        f"<Fr><FIId>{institution(sender)}</FIId></Fr><To><FIId>{institution(receiver)}</FIId></To>"
        f"<BizMsgIdr>MSG-1</BizMsgIdr><MsgDefIdr>{identifier}</MsgDefIdr>"
        "<CreDt>2026-04-13T01:07:00Z</CreDt></AppHdr>"
    )


ENVELOPES: dict[str, Callable[[str, str], str]] = {
    "nothing around it": lambda _header, message: message,
    "a declaration": lambda _header, message: f'<?xml version="1.0" encoding="UTF-8"?>\n{message}',
    "a header in an envelope": lambda header, message: (
        f'<Envelope xmlns="urn:swift:xsd:envelope">{header}{message}</Envelope>'
    ),
    "SWIFT's DataPDU": lambda header, message: (
        f'<Saa:DataPDU xmlns:Saa="urn:swift:saa:xsd:saa.2.0"><Saa:Revision>2.0.13</Saa:Revision><Saa:Header>'
        f"<Saa:Message><Saa:SenderReference>1</Saa:SenderReference></Saa:Message></Saa:Header>"
        f"<Saa:Body>{header}{message}</Saa:Body></Saa:DataPDU>"
    ),
    "a RequestPayload": lambda header, message: (
        f'<SwInt:RequestPayload xmlns:SwInt="urn:swift:snl:ns.SwInt">{header}{message}</SwInt:RequestPayload>'
    ),
    "a business file (head.002)": lambda header, message: (
        '<Xchg xmlns="urn:iso:std:iso:20022:tech:xsd:head.002.001.01"><PyldDesc><PyldTp>x</PyldTp></PyldDesc>'
        f"<Pyld>{header}{message}</Pyld></Xchg>"
    ),
    "blocks of CNAPS 2": lambda _header, message: (
        "{H:02102100099996  HVPS103100000026  HVPS20260413090700XMLhvps.111.001.01     ID-1                ID-1"
        "                3UXN       }\r\n{S:MEUCIQCN+Yk/8=}\r\n"
        f'<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\r\n{message}'
    ),
}
