/**
 * The products of the shop and the cart. Prices are whole cents, so that sums are exact.
 */
import { Array, Option, Schema } from "effect"

export interface Product {
  readonly sku: string
  readonly name: string
  readonly description: string
  readonly cents: number
}

export const products: ReadonlyArray<Product> = [
  { sku: "teapot", name: "Teapot", description: "Stoneware, holds four cups, pours without a drip.", cents: 3850 },
  { sku: "kettle", name: "Kettle", description: "Enamelled steel, and it whistles.", cents: 4900 },
  { sku: "cup", name: "Cup", description: "Thin rim, thick foot, no handle.", cents: 1290 },
  { sku: "sencha", name: "Sencha", description: "Green tea from the first harvest, 100 g.", cents: 1875 },
  { sku: "biscuits", name: "Biscuits", description: "Butter and sesame, a tin of twelve.", cents: 725 }
]

export const find = (sku: string): Option.Option<Product> => Array.findFirst(products, (product) => product.sku === sku)

export const Sku = Schema.String.pipe(
  Schema.filter((sku) => Option.isSome(find(sku)) || "The catalogue has no product with this SKU.")
)

/** An item of the cart. The session stores no prices. */
export const CartItem = Schema.Struct({
  // Any text, so that the session can still be decoded after the catalogue has changed.
  sku: Schema.String,
  quantity: Schema.Int.pipe(Schema.positive())
})

export type Cart = ReadonlyArray<typeof CartItem.Type>

/** Adds one of a product. Pure, so that the session can replay it on a conflict. */
export const add = (sku: string) => (cart: Cart): Cart =>
  cart.some((item) => item.sku === sku)
    ? cart.map((item) => item.sku === sku ? { ...item, quantity: item.quantity + 1 } : item)
    : [...cart, { sku, quantity: 1 }]

export const remove = (sku: string) => (cart: Cart): Cart => cart.filter((item) => item.sku !== sku)

export interface Line {
  readonly product: Product
  readonly quantity: number
  readonly cents: number
}

/** The cart with current prices, without products that are no longer sold. */
export const lines = (cart: Cart): ReadonlyArray<Line> =>
  Array.filterMap(
    cart,
    ({ quantity, sku }) => Option.map(find(sku), (product) => ({ product, quantity, cents: product.cents * quantity }))
  )

export const count = (cart: Cart): number => cart.reduce((sum, item) => sum + item.quantity, 0)

export const total = (cart: Cart): number => lines(cart).reduce((sum, line) => sum + line.cents, 0)
