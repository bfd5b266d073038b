WHERE after != before AND abs(after - before) >= toDecimal128OrZero(decodeURLComponent('${floor:percentencode}'), 12)
ORDER BY after > before DESC, before <= 0 DESC, abs("Change") DESC, abs(after - before) DESC, member
LIMIT 10 BY after > before
