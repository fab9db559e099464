"""ISO 4217: the number and the exponent of each currency, and amounts between decimal text and minor units.

Money is an integer of minor units everywhere in this project; a decimal string exists only at the edges, and a float
never. Source: ISO 4217 list one, as published on 2026-01-01. Codes without a minor unit (metals, test codes, units of
account such as XDR) are not payment currencies and are left out. Rules of the ledger never look at this table, so a
new currency needs no change of the protocol: it is read when messages come in and when amounts are shown.
"""

from __future__ import annotations

import re

from primitives.errors import InputError

AMOUNT_DIGITS_MAX = 18  # ISO 20022 ActiveCurrencyAndAmount: totalDigits 18; here counted in minor units
MINOR_UNITS_MAX = 10**AMOUNT_DIGITS_MAX - 1

# By exponent: code and number.
_TABLE = {
    0: (
        "BIF108 CLP152 DJF262 GNF324 ISK352 JPY392 KMF174 KRW410 PYG600 RWF646 UGX800 UYI940 VND704 "
        "VUV548 XAF950 XOF952 XPF953"
    ),
    2: (
        "AED784 AFN971 ALL008 AMD051 AOA973 ARS032 AUD036 AWG533 AZN944 BAM977 BBD052 BDT050 BMD060 "
        "BND096 BOB068 BOV984 BRL986 BSD044 BTN064 BWP072 BYN933 BZD084 CAD124 CDF976 CHE947 CHF756 "
        "CHW948 CNY156 COP170 COU970 CRC188 CUP192 CVE132 CZK203 DKK208 DOP214 DZD012 EGP818 ERN232 "
        "ETB230 EUR978 FJD242 FKP238 GBP826 GEL981 GHS936 GIP292 GMD270 GTQ320 GYD328 HKD344 HNL340 "
        "HTG332 HUF348 IDR360 ILS376 INR356 IRR364 JMD388 KES404 KGS417 KHR116 KPW408 KYD136 KZT398 "
        "LAK418 LBP422 LKR144 LRD430 LSL426 MAD504 MDL498 MGA969 MKD807 MMK104 MNT496 MOP446 MRU929 "
        "MUR480 MVR462 MWK454 MXN484 MXV979 MYR458 MZN943 NAD516 NGN566 NIO558 NOK578 NPR524 NZD554 "
        "PAB590 PEN604 PGK598 PHP608 PKR586 PLN985 QAR634 RON946 RSD941 RUB643 SAR682 SBD090 SCR690 "
        "SDG938 SEK752 SGD702 SHP654 SLE925 SOS706 SRD968 SSP728 STN930 SVC222 SYP760 SZL748 THB764 "
        "TJS972 TMT934 TOP776 TRY949 TTD780 TWD901 TZS834 UAH980 USD840 USN997 UYU858 UZS860 VED926 "
        "VES928 WST882 XAD396 XCD951 XCG532 YER886 ZAR710 ZMW967 ZWG924"
    ),
    3: ("BHD048 IQD368 JOD400 KWD414 LYD434 OMR512 TND788"),
    4: ("CLF990 UYW927"),
}

EXPONENTS: dict[str, int] = {}
NUMBERS: dict[str, str] = {}
CODES: dict[str, str] = {}
for _exponent, _entries in _TABLE.items():
    for _entry in _entries.split():
        EXPONENTS[_entry[:3]] = _exponent
        NUMBERS[_entry[:3]] = _entry[3:]
        CODES[_entry[3:]] = _entry[:3]

_DECIMAL = re.compile(r"(0*[0-9]{1,18})(?:\.([0-9]{0,18}))?", re.ASCII)


def exponent_of(currency: str, *, where: str | None = None) -> int:
    """Return the number of decimals of `currency`; InputError for a code that ISO 4217 does not list for payments."""
    exponent = EXPONENTS.get(currency)
    if exponent is None:
        raise InputError("unknown currency", where=where, expected="an ISO 4217 code such as CNY", got=repr(currency))
    return exponent


def minor_units(text: str, currency: str, *, where: str | None = None) -> int:
    """Return a decimal amount (`23.72`) in minor units (2372); InputError for bad digits or too many decimals.

    Errors never show the amount: it may be one that is only committed to.
    """
    exponent = exponent_of(currency, where=where)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise InputError(
            "amount is not a decimal number",
            where=where,
            expected=f"digits and one point, at most {AMOUNT_DIGITS_MAX} digits, such as 23.72",
            got=f"{len(text)} characters",
        )
    whole, fraction = match.group(1).lstrip("0"), match.group(2) or ""
    if len(fraction) > exponent:
        raise InputError(
            "amount has too many decimals",
            where=where,
            expected=f"at most {exponent} for {currency}",
            got=len(fraction),
        )
    if len(whole) + exponent > AMOUNT_DIGITS_MAX:  # in minor units, so that every amount fits 64 bits
        digits = len(whole) + exponent
        raise InputError("amount too large", where=where, expected=f"at most {AMOUNT_DIGITS_MAX} digits", got=digits)
    return int(whole + fraction.ljust(exponent, "0") or "0")


def decimal_text(minor: int, currency: str) -> str:
    """Return minor units as decimal text with exactly the currency's decimals; InputError for an unknown currency."""
    exponent = exponent_of(currency)
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(exponent + 1, "0")
    return sign + (f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits)
